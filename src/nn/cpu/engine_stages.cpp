// The stages of the CPU's engine but for attention: what members compute between two waits.
#include <algorithm>

#include <ATen/ops/empty.h>

#include "nn/cpu/engine_multiply.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"

namespace continuo {

namespace {

constexpr int64_t kAhead = 96 << 10;  // bytes of its next panels that a waiting member fetches

}  // namespace

Ahead CpuEngine::share(const PackedMatrix& w, const Team::Member& member) {
  const int64_t begin = member.begin(w.panels), end = member.end(w.panels);
  if (begin >= end) return {};
  const PanelRange& run = w.run_of(begin);
  const int64_t bytes = (std::min(end, run.end) - begin) * panel_bytes(run.format, w.in);
  return {w.panel(begin), std::min(kAhead, bytes)};
}

void CpuEngine::enter(const EngineNorm& norm, int64_t row, float* out) const {
  const int64_t hidden = spec().embedding.hidden, stride = packed_inputs(hidden);
  const float* x = residual_.data() + row * hidden;
  if (norm) {
    norm.apply(hidden, x, out);
  } else {
    std::copy_n(x, hidden, out);
  }
  std::fill(out + hidden, out + stride, 0.0f);
}

// Adds what an adapter makes of its rows to the panels [begin, end) of a product.
void CpuEngine::add_low_rank(const AdapterRun& run, int64_t joint, int64_t begin, int64_t end,
                             float* y) {
  const JointAdapter& adapter = run.adapter->joint(joint);
  if (!adapter) return;
  const PackedMatrix& b = adapter.b;
  float* added = up_ranks_.data() + run.begin * b.stride_out();
  const PackedInput ranks = {.values = down_ranks_.data() + run.begin * run.adapter->widest()};
  product(b, run.end - run.begin, ranks, begin, end, added);
  for (int64_t r = run.begin; r < run.end; ++r, added += b.stride_out()) {
    float* to = y + r * matrices_[joint].stride_out();
    for (int64_t i = begin * kPanel; i < end * kPanel; ++i) to[i] += added[i];
    if (adapter.factor.empty()) continue;
    for (int64_t i = begin * kPanel; i < end * kPanel; ++i) to[i] *= adapter.factor[i];
  }
}

void CpuEngine::add_panels(int64_t rows, int64_t joint, const std::vector<float>& bias,
                           int64_t first, int64_t last) {
  const int64_t hidden = spec().embedding.hidden, begin = first * kPanel,
                end = std::min(hidden, last * kPanel);
  for (int64_t r = 0; r < rows; ++r) {
    float* to = residual_.data() + r * hidden;
    const float* from = product_.data() + r * matrices_[joint].stride_out();
    if (bias.empty()) {
      for (int64_t i = begin; i < end; ++i) to[i] += from[i];
    } else {
      for (int64_t i = begin; i < end; ++i) to[i] += from[i] + bias[i];
    }
  }
}

void CpuEngine::add_normalised(const EnginePass& pass, int64_t joint, const Leaving& leaving,
                               const Team::Member& member) {
  const int64_t hidden = spec().embedding.hidden;
  const std::vector<float>& bias = leaving.bias;
  for (int64_t r = member.begin(pass.rows); r < member.end(pass.rows); ++r) {
    float* to = residual_.data() + r * hidden;
    float* from = product_.data() + r * matrices_[joint].stride_out();
    for (size_t i = 0; i < bias.size(); ++i) from[i] += bias[i];
    leaving.norm.apply(hidden, from, from);
    for (int64_t i = 0; i < hidden; ++i) to[i] += from[i];
  }
}

// A sublayer's last product, added to the residual stream. The caller waits.
void CpuEngine::project(const EnginePass& pass, int64_t joint, const float* x,
                        const Leaving& leaving, const Team::Member& member) {
  multiply(
      pass.all_rows(), {joint, x, product_.data()}, member, [](int64_t) {},
      [&](int64_t begin, int64_t end) {
        if (!leaving.norm) add_panels(pass.rows, joint, leaving.bias, begin, end);
      });
  if (!leaving.norm) return;
  member.wait();
  add_normalised(pass, joint, leaving, member);
}

// Sets result_ = activation(gate) · up for the panels [begin, end): pairs of half panels where the
// family gates.
void CpuEngine::multiply_gate(int64_t rows, const EngineDense& dense, int64_t begin, int64_t end) {
  const auto& [width, activation, gated, biases] = dense.spec;
  const PackedMatrix &in = matrices_[dense.in], &out = matrices_[dense.out];
  const int64_t step = gated ? kHalfPanel : kPanel;
  for (int64_t r = 0; r < rows; ++r) {
    float* from = gate_up_.data() + r * in.stride_out();
    float* to = result_.data() + r * out.stride_in();
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * step, count = std::min(step, width - first);
      float *one = from + p * kPanel, *up = gated ? one + kHalfPanel : one;
      for (int64_t c = 0; c < count && gated && biases; ++c) one[c] += dense.gate_bias[first + c];
      for (int64_t c = 0; c < count && biases; ++c) up[c] += dense.up_bias[first + c];
      kernels().engine.gate(activation, count, one, gated ? up : nullptr, to + first);
    }
    if (end == in.panels) std::fill(to + width, to + out.stride_in(), 0.0f);
  }
}

// Where the rows that a sublayer reads are made: few of them every member makes for itself.
float* CpuEngine::normalised(const EnginePass& pass, const Team::Member& member) {
  return pass.rows <= kAlone ? scratch_[member.rank].normalised.data() : normalised_.data();
}

void CpuEngine::read_mlp(const EnginePass& pass, const EngineLayer& l, const Team::Member& member) {
  const auto* dense = std::get_if<EngineDense>(&l.mlp);
  if (!dense) return mix_experts(pass, l, member);
  read_stream(pass, l.mlp_norm, dense->in, gate_up_.data(), member,
              [&](int64_t begin, int64_t end) { multiply_gate(pass.rows, *dense, begin, end); });
}

void CpuEngine::write_mlp(const EnginePass& pass, const EngineLayer& l,
                          const Team::Member& member) {
  if (const auto* dense = std::get_if<EngineDense>(&l.mlp)) {
    return project(pass, dense->out, result_.data(), {dense->down_bias, l.mlp_post_norm}, member);
  }
  const int64_t hidden = spec().embedding.hidden;
  for (int64_t r = member.begin(pass.rows); r < member.end(pass.rows); ++r) {
    float* from = experts_sum_.data() + r * hidden;
    if (l.mlp_post_norm) l.mlp_post_norm.apply(hidden, from, from);
    for (int64_t i = 0; i < hidden; ++i) residual_[r * hidden + i] += from[i];
  }
}

// A block. Members wait for each other after each product and after the mixer.
void CpuEngine::run_layer(const EnginePass& pass, int64_t layer, const Team::Member& member) {
  const EngineLayer& l = layers_[layer];
  const int64_t mlp_in = l.mlps().front().in, mlp_out = l.mlps().front().out;
  read_stream(pass, l.mixer_norm, l.in, mixer_in_.data(), member, [](int64_t, int64_t) {});
  member.wait(share(l.out, member));
  if (std::holds_alternative<EngineAttend>(l.mixer)) {
    attend(pass, layer, member);
  } else {
    convolve(pass, layer, member);
  }
  member.wait(share(l.parallel ? mlp_in : l.out, member));
  if (l.parallel) {  // before the stream that both read has changed
    read_mlp(pass, l, member);
    member.wait(share(l.out, member));
  }
  project(pass, l.out, mixed_.data(), {l.out_bias, l.mixer_post_norm}, member);
  member.wait(share(l.parallel ? mlp_out : mlp_in, member));
  if (!l.parallel) {
    read_mlp(pass, l, member);
    member.wait(share(mlp_out, member));
  }
  write_mlp(pass, l, member);
}

void CpuEngine::run(const EnginePass& pass, const Team::Member& member) {
  for (int64_t i = 0; i < std::ssize(layers_); ++i) {
    run_layer(pass, i, member);
    const int64_t next = i + 1 < std::ssize(layers_) ? layers_[i + 1].in : std::ssize(matrices_);
    member.wait(share(next, member));
  }
  const int64_t hidden = spec().embedding.hidden;
  for (int64_t r = member.begin(pass.rows); r < member.end(pass.rows); ++r)
    norm_.apply(hidden, residual_.data() + r * hidden, pass.out + r * hidden);
}

at::Tensor CpuEngine::logits(const at::Tensor& hidden) {
  const at::Tensor from = hidden.to(at::kFloat).contiguous();
  const int64_t rows = from.size(0), stride = head_.stride_in(), width = spec().embedding.hidden,
                vocabulary = spec().embedding.vocabulary;
  std::vector<float> x(rows * stride, 0.0f);
  for (int64_t r = 0; r < rows; ++r)
    std::copy_n(data<float>(from) + r * width, width, x.data() + r * stride);
  const at::Tensor out = at::empty({rows, head_.stride_out()}, at::TensorOptions(at::kFloat));
  fit_scratch(rows * stride);
  const auto& [tied, softcap] = spec().head;  // tied or not, the weights are given
  const auto cap = static_cast<float>(softcap);
  Team::run(members_for(rows * vocabulary * width), [&](const Team::Member& member) {
    const PackedInput input = gather(head_, rows, x.data(), member, [](int64_t) {});
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
