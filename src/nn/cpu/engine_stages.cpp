// The stages of the CPU's engine but for attention: what members compute between two waits.
#include <algorithm>

#include <ATen/ops/empty.h>

#include "nn/cpu/engine.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"

namespace continuo {

namespace {

constexpr int64_t kAhead = 96 << 10;  // bytes of its next panels that a waiting member fetches

}  // namespace

// What a waiting member fetches: the panels that it will multiply first.
Ahead CpuEngine::share(const PackedMatrix& w, const Team::Member& member) const {
  const int64_t begin = member.begin(w.panels), bytes = panel_bytes(w.format, w.in);
  return {w.data + begin * bytes, std::min(kAhead, (member.end(w.panels) - begin) * bytes)};
}

void CpuEngine::enter(const EngineNorm& norm, int64_t row, float* out, int64_t stride) const {
  const int64_t hidden = spec().embedding.hidden;
  const float* x = residual_.data() + row * hidden;
  if (norm) {
    norm.apply(hidden, x, out);
  } else {
    std::copy_n(x, hidden, out);
  }
  std::fill(out + hidden, out + stride, 0.0f);
}

// Returns the rows that a product reads. make(r) computes row r where it is not there yet; then the
// rows are converted to what the panels' format reads. Every member does that for itself when there
// are few rows; many are shared out among all members.
template <class MakeRow>
PackedInput CpuEngine::gather(const PackedMatrix& w, int64_t rows, const float* x,
                              PackedScratch& own, const Team::Member& member, const MakeRow& make) {
  const bool alone = rows <= kAlone || member.size == 1;
  PackedScratch& scratch = alone ? own : shared_;
  const int64_t begin = alone ? 0 : member.begin(rows), end = alone ? rows : member.end(rows);
  for (int64_t r = begin; r < end; ++r) make(r);
  prepare(w, begin, end, x, scratch);
  if (!alone) member.wait(share(w, member));
  return prepared(w, x, scratch);
}

// Adds what an adapter makes of its rows to the panels [begin, end) of a product.
void CpuEngine::add_low_rank(const AdapterRun& run, int64_t layer, Joint joint, int64_t begin,
                             int64_t end, float* y, int64_t stride) {
  const JointAdapter& adapter = run.adapter->layers[layer][static_cast<int>(joint)];
  if (!adapter) return;
  const PackedMatrix& b = adapter.b;
  float* added = up_ranks_.data() + run.begin * b.stride_out();
  const PackedInput ranks = {.values = down_ranks_.data() + run.begin * run.adapter->widest};
  product(b, run.end - run.begin, ranks, begin, end, added);
  for (int64_t r = run.begin; r < run.end; ++r, added += b.stride_out()) {
    float* to = y + r * stride;
    for (int64_t i = begin * kPanel; i < end * kPanel; ++i) to[i] += added[i];
    if (adapter.factor.empty()) continue;
    for (int64_t i = begin * kPanel; i < end * kPanel; ++i) to[i] *= adapter.factor[i];
  }
}

// y = x · W for a joint matrix of a layer, its adapters included; then finish(begin, end) for runs
// of panels.
template <class MakeRow, class Finished>
void CpuEngine::multiply(const EnginePass& pass, int64_t layer, Joint joint, const float* x,
                         float* y, const Team::Member& member, const MakeRow& make,
                         const Finished& finish) {
  const PackedMatrix& w = layers_[layer].matrix(joint);
  const PackedInput rows = gather(w, pass.rows, x, scratch_[member.rank].rows, member, make);
  for (const AdapterRun& run : pass.adapted) {
    const PackedMatrix& a = run.adapter->layers[layer][static_cast<int>(joint)].a;
    if (a.panels == 0) continue;
    const PackedInput input = {.values = x + run.begin * w.stride_in()};
    product(a, run.end - run.begin, input, member.begin(a.panels), member.end(a.panels),
            down_ranks_.data() + run.begin * run.adapter->widest);
  }
  if (!pass.adapted.empty()) member.wait();
  member.deal(w.panels, [&](int64_t begin, int64_t end) {
    product(w, pass.rows, rows, begin, end, y);
    for (const AdapterRun& run : pass.adapted)
      add_low_rank(run, layer, joint, begin, end, y, w.stride_out());
    finish(begin, end);
  });
}

void CpuEngine::add_panels(const EnginePass& pass, const PackedMatrix& w,
                           const std::vector<float>& bias, int64_t first, int64_t last) {
  const int64_t hidden = spec().embedding.hidden, begin = first * kPanel,
                end = std::min(hidden, last * kPanel);
  for (int64_t r = 0; r < pass.rows; ++r) {
    float* to = residual_.data() + r * hidden;
    const float* from = product_.data() + r * w.stride_out();
    if (bias.empty()) {
      for (int64_t i = begin; i < end; ++i) to[i] += from[i];
    } else {
      for (int64_t i = begin; i < end; ++i) to[i] += from[i] + bias[i];
    }
  }
}

void CpuEngine::add_normalised(const EnginePass& pass, const PackedMatrix& w,
                               const std::vector<float>& bias, const EngineNorm& norm,
                               const Team::Member& member) {
  const int64_t hidden = spec().embedding.hidden;
  for (int64_t r = member.begin(pass.rows); r < member.end(pass.rows); ++r) {
    float* to = residual_.data() + r * hidden;
    float* from = product_.data() + r * w.stride_out();
    for (size_t i = 0; i < bias.size(); ++i) from[i] += bias[i];
    norm.apply(hidden, from, from);
    for (int64_t i = 0; i < hidden; ++i) to[i] += from[i];
  }
}

// A sublayer's last product, added to the residual stream. The caller waits.
void CpuEngine::project(const EnginePass& pass, int64_t layer, Joint joint, const float* x,
                        const std::vector<float>& bias, const EngineNorm& norm,
                        const Team::Member& member) {
  const PackedMatrix& w = layers_[layer].matrix(joint);
  multiply(
      pass, layer, joint, x, product_.data(), member, [](int64_t) {},
      [&](int64_t begin, int64_t end) {
        if (!norm) add_panels(pass, w, bias, begin, end);
      });
  if (!norm) return;
  member.wait();
  add_normalised(pass, w, bias, norm, member);
}

// Sets result_ = activation(gate) · up for the panels [begin, end): pairs of half panels where the
// family gates.
void CpuEngine::multiply_gate(const EnginePass& pass, const EngineLayer& l, int64_t begin,
                              int64_t end) {
  const auto& [width, activation, gated, biases] = l.dense;
  const int64_t step = gated ? kHalfPanel : kPanel;
  for (int64_t r = 0; r < pass.rows; ++r) {
    float* from = gate_up_.data() + r * l.gate_up.stride_out();
    float* to = result_.data() + r * l.down.stride_in();
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * step, count = std::min(step, width - first);
      float *one = from + p * kPanel, *up = gated ? one + kHalfPanel : one;
      for (int64_t c = 0; c < count && gated && biases; ++c) one[c] += l.gate_bias[first + c];
      for (int64_t c = 0; c < count && biases; ++c) up[c] += l.up_bias[first + c];
      kernels().engine.gate(activation, count, one, gated ? up : nullptr, to + first);
    }
    if (end == l.gate_up.panels) std::fill(to + width, to + l.down.stride_in(), 0.0f);
  }
}

// A block. Members wait for each other after each product and after the attention.
void CpuEngine::run_layer(const EnginePass& pass, int64_t layer, const Team::Member& member) {
  const EngineLayer& l = layers_[layer];
  float* normalised =
      pass.rows <= kAlone ? scratch_[member.rank].normalised.data() : normalised_.data();
  const auto entering = [&](const EngineNorm& norm, const PackedMatrix& w) {
    return
        [&, stride = w.stride_in()](int64_t r) { enter(norm, r, normalised + r * stride, stride); };
  };
  const auto read_mlp = [&] {
    multiply(pass, layer, Joint::gate_up, normalised, gate_up_.data(), member,
             entering(l.mlp_norm, l.gate_up),
             [&](int64_t begin, int64_t end) { multiply_gate(pass, l, begin, end); });
  };
  multiply(pass, layer, Joint::qkv, normalised, qkv_.data(), member, entering(l.mixer_norm, l.qkv),
           [](int64_t, int64_t) {});
  member.wait(share(l.output, member));
  attend(pass, layer, member);
  member.wait(share(l.parallel ? l.gate_up : l.output, member));
  if (l.parallel) {  // before the stream that both read has changed
    read_mlp();
    member.wait(share(l.output, member));
  }
  project(pass, layer, Joint::output, attended_.data(), l.output_bias, l.mixer_post_norm, member);
  member.wait(share(l.parallel ? l.down : l.gate_up, member));
  if (!l.parallel) {
    read_mlp();
    member.wait(share(l.down, member));
  }
  project(pass, layer, Joint::down, result_.data(), l.down_bias, l.mlp_post_norm, member);
}

void CpuEngine::run(const EnginePass& pass, const Team::Member& member) {
  for (int64_t i = 0; i < std::ssize(layers_); ++i) {
    run_layer(pass, i, member);
    member.wait(share(i + 1 < std::ssize(layers_) ? layers_[i + 1].qkv : head_, member));
  }
  const int64_t hidden = spec().embedding.hidden;
  for (int64_t r = member.begin(pass.rows); r < member.end(pass.rows); ++r)
    norm_.apply(hidden, residual_.data() + r * hidden, pass.out + r * hidden);
}

at::Tensor CpuEngine::logits(const float* hidden, const std::vector<int64_t>& wanted) {
  const auto rows = static_cast<int64_t>(wanted.size());
  const int64_t stride = head_.stride_in(), width = spec().embedding.hidden,
                vocabulary = spec().embedding.vocabulary;
  std::vector<float> x(rows * stride, 0.0f);
  for (int64_t r = 0; r < rows; ++r)
    std::copy_n(hidden + wanted[r] * width, width, x.data() + r * stride);
  const at::Tensor out = at::empty({rows, head_.stride_out()}, at::TensorOptions(at::kFloat));
  fit_scratch(rows * stride);
  const auto& [tied, softcap] = spec().head;  // tied or not, the weights are given
  const auto cap = static_cast<float>(softcap);
  Team::run(members_for(rows * vocabulary * width), [&](const Team::Member& member) {
    const PackedInput input =
        gather(head_, rows, x.data(), scratch_[member.rank].rows, member, [](int64_t) {});
    member.deal(head_.panels, [&](int64_t begin, int64_t end) {
      product(head_, rows, input, begin, end, data<float>(out));
      for (int64_t r = 0; r < rows && cap > 0; ++r) {
        kernels().engine.cap((end - begin) * kPanel, cap,
                             data<float>(out) + r * head_.stride_out() + begin * kPanel);
      }
    });
  });
  return out.narrow(1, 0, vocabulary).contiguous();
}

}  // namespace continuo
