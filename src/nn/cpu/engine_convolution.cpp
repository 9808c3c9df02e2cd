// The gated convolution of the CPU's engine. A member computes some channels of all rows, one after
// the other, so that none waits for another.
#include <algorithm>

#include "nn/cpu/engine.h"

namespace continuo {

namespace {

// Where one document's inputs lie, by position: those of this pass in the rows of the first
// product, those before it in the cache.
struct Inputs {
  float* rows;     // of the pass's first one
  int64_t stride;  // of a row
  const float* held;
  StateLayer layer;
  int64_t begin;  // the position of the pass's first one

  const float* at(int64_t position) const {
    return position >= begin ? rows + (position - begin) * stride
                             : held + position % layer.held * layer.width;
  }
};

}  // namespace

void CpuEngine::convolve(const EnginePass& pass, int64_t layer, const Team::Member& member) {
  const EngineLayer& l = layers_[layer];
  const EngineConvolve& convolution = std::get<EngineConvolve>(l.mixer);
  const auto& [kernel, biases] = convolution.spec;
  const int64_t hidden = spec().embedding.hidden, in = matrices_[l.in].stride_out(),
                out = matrices_[l.out].stride_in(), begin = member.begin(hidden),
                end = member.end(hidden);
  const StateLayer& state = pass.cache.state_layer(layer);
  for (int64_t row = 0, last; row < pass.rows; row = last) {
    const int64_t document = pass.documents[row], position = pass.positions[row];
    for (last = row; last < pass.rows && pass.documents[last] == document; ++last) {
    }
    float* held = pass.cache.state(pass.sequences[document], layer);
    // b, c and x of a row lie side by side; b · x takes the place of b.
    float* first = mixer_in_.data() + row * in;
    const Inputs inputs = {first, in, held, state, position};
    for (int64_t r = row; r < last; ++r) {
      float *b = first + (r - row) * in, *c = b + hidden, *x = c + hidden;
      if (!l.in_bias.empty()) {
        for (float* part : {b, c, x}) {
          for (int64_t i = begin; i < end; ++i) part[i] += l.in_bias[part - b + i];
        }
      }
      for (int64_t i = begin; i < end; ++i) b[i] *= x[i];
      float* y = mixed_.data() + r * out;
      std::fill(y + begin, y + end, 0.0f);
      const int64_t at = position + r - row;
      for (int64_t j = std::max<int64_t>(0, kernel - 1 - at); j < kernel; ++j) {
        const float *u = inputs.at(at - kernel + 1 + j),
                    *w = convolution.kernel.data() + j * hidden;
        for (int64_t i = begin; i < end; ++i) y[i] += w[i] * u[i];
      }
      for (int64_t i = begin; i < end; ++i)
        y[i] = c[i] * (biases ? y[i] + convolution.bias[i] : y[i]);
      if (member.rank == 0) std::fill(y + hidden, y + out, 0.0f);
    }
    for (int64_t r = std::max(row, last - state.held); r < last; ++r) {
      std::copy(first + (r - row) * in + begin, first + (r - row) * in + end,
                held + (position + r - row) % state.held * hidden + begin);
    }
  }
}

}  // namespace continuo
