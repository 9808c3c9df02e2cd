#include "nn/cpu/inference_engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <ATen/ops/empty.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/kv_cache.h"

namespace continuo {

namespace {

// Up to so many rows every member converts for itself, which is cheaper than a wait.
constexpr int64_t kAlone = 8;
constexpr int64_t kAhead = 96 << 10;  // bytes of its next panels that a waiting member fetches

std::vector<float> floats(const at::Tensor& t) {
  if (!t.defined()) return {};
  const at::Tensor f = t.detach().to(at::kFloat).contiguous();
  return {f.const_data_ptr<float>(), f.const_data_ptr<float>() + f.numel()};
}

// Biases of matrices one under the other; empty when there is none.
std::vector<float> joined_bias(std::initializer_list<at::Tensor> biases,
                               std::initializer_list<at::Tensor> matrices) {
  std::vector<float> all;
  bool any = false;
  auto matrix = matrices.begin();
  for (const at::Tensor& bias : biases) {
    const auto size = static_cast<size_t>((matrix++)->size(0));
    any = any || bias.defined();
    const std::vector<float> own = bias.defined() ? floats(bias) : std::vector<float>(size);
    all.insert(all.end(), own.begin(), own.end());
  }
  return any ? all : std::vector<float>();
}

// Room that holds all panels, compressed or not.
int64_t total_bytes(const EngineWeights& w, PanelFormat format) {
  int64_t bytes = concatenated_panels({w.head}) * panel_bytes(format, w.head.size(1));
  for (const auto& l : w.layers) {
    bytes += concatenated_panels({l.query, l.key, l.value}) * panel_bytes(format, l.query.size(1));
    bytes += concatenated_panels({l.output}) * panel_bytes(format, l.output.size(1));
    bytes += paired_panels(l.gate) * panel_bytes(format, l.gate.size(1));
    bytes += concatenated_panels({l.down}) * panel_bytes(format, l.down.size(1));
  }
  return bytes;
}

}  // namespace

bool InferenceEngine::covers(const TransformerOptions& o) {
  return o.head_dim % 16 == 0 && o.pre_norm && !o.post_norm && !o.layer_norm && !o.parallel &&
         o.gated && o.activation == Activation::silu && o.attention_softcap == 0 &&
         !o.learned_positions;
}

InferenceEngine::InferenceEngine(const TransformerOptions& options, const EngineWeights& w,
                                 WeightFormat format)
    : options_(options),
      scale_(static_cast<float>(options.attention_scale > 0
                                    ? options.attention_scale
                                    : 1 / std::sqrt(static_cast<double>(options.head_dim)))),
      arena_(total_bytes(w, plain_panels(format))) {
  for (size_t i = 0; i < w.layers.size(); ++i) {
    const EngineLayerWeights& l = w.layers[i];
    Layer layer;
    layer.attention_norm = floats(l.attention_norm);
    layer.mlp_norm = floats(l.mlp_norm);
    layer.query_norm = floats(l.query_norm);
    layer.key_norm = floats(l.key_norm);
    layer.qkv_bias =
        joined_bias({l.query_bias, l.key_bias, l.value_bias}, {l.query, l.key, l.value});
    layer.output_bias = floats(l.output_bias);
    layer.gate_bias = floats(l.gate_bias);
    layer.up_bias = floats(l.up_bias);
    layer.down_bias = floats(l.down_bias);
    layer.qkv = pack_concatenated(arena_, format, {l.query, l.key, l.value});
    layer.output = pack_concatenated(arena_, format, {l.output});
    layer.gate_up = pack_paired(arena_, format, l.gate, l.up);
    layer.down = pack_concatenated(arena_, format, {l.down});
    layer.rotates = options.rotates(static_cast<int64_t>(i));
    layer.windowed = options.has_window(static_cast<int64_t>(i));
    layers_.push_back(std::move(layer));
  }
  head_ = pack_concatenated(arena_, format, {w.head});
  norm_ = floats(w.norm);
}

int64_t InferenceEngine::weight_bytes() const {
  int64_t bytes = head_.bytes();
  for (const Layer& l : layers_)
    bytes += l.qkv.bytes() + l.output.bytes() + l.gate_up.bytes() + l.down.bytes();
  return bytes;
}

std::vector<InferenceEngine::Span> InferenceEngine::spans(const std::vector<Row>& rows,
                                                          int64_t window) const {
  std::vector<Span> all;
  for (size_t r = 0; r < rows.size(); ++r) {
    const int64_t end = rows[r].visible,
                  first = window > 0 ? std::max<int64_t>(0, end - window) : 0;
    const int64_t count = (end - first + kSpan - 1) / kSpan;
    for (int64_t i = 0; i < count; ++i) {
      all.push_back({static_cast<int64_t>(r), first + i * kSpan,
                     std::min(end, first + (i + 1) * kSpan), i, count});
    }
  }
  return all;
}

at::Tensor InferenceEngine::forward(const at::Tensor& embedded, const RaggedInput& input,
                                    const Rotation& far, const Rotation& near, KVCache& cache) {
  const TransformerOptions& o = options_;
  Pass pass;
  for (int64_t d = 0; d < input.documents(); ++d) {
    const int64_t id = cache.active()[d], past = cache.length(id);
    const at::Tensor storage = cache.storage(id, 0);
    pass.caches.push_back(storage.data_ptr());
    pass.capacities.push_back(storage.size(2));
    pass.single = pass.single && input.length(d) == 1;
    for (int64_t i = 0; i < input.length(d); ++i) pass.rows.push_back({d, past + i + 1});
  }
  pass.halves = cache.shape().dtype == at::kBFloat16;
  pass.everything = spans(pass.rows, 0);
  if (o.window > 0) pass.windowed = spans(pass.rows, o.window);
  pass.far = &far;
  pass.near = near.cos.defined() ? &near : &far;

  const int64_t n = pass.size();
  const at::Tensor source = embedded.contiguous();
  at::Tensor out = at::empty({n, o.hidden}, at::TensorOptions(at::kFloat));
  pass.out = data<float>(out);
  const Layer& l = layers_.front();
  fit(residual_, n * o.hidden);
  std::memcpy(residual_.data(), data<float>(source), n * o.hidden * sizeof(float));
  fit(normalised_, n * l.qkv.stride_in());
  fit(qkv_, n * l.qkv.stride_out());
  fit(attended_, n * l.output.stride_in());
  fit(gate_up_, n * l.gate_up.stride_out());
  fit(result_, n * l.down.stride_in());
  fit(product_, n * l.output.stride_out());
  const auto units = static_cast<int64_t>(std::max(pass.everything.size(), pass.windowed.size()));
  fit(partial_, units * o.heads * o.head_dim);
  if (static_cast<int64_t>(parts_.size()) < units * o.heads) parts_.resize(units * o.heads);
  const int64_t widest =
      n * std::max({l.qkv.stride_in(), l.output.stride_in(), l.down.stride_in()});
  fit_scratch(widest);
  for (Scratch& s : scratch_) fit(s.normalised, std::min(n, kAlone) * l.qkv.stride_in());
  Team::run([&](const Team::Member& member) { run(pass, member); });
  return out;
}

void InferenceEngine::fit_scratch(int64_t values) {
  scratch_.resize(std::max<size_t>(scratch_.size(), at::get_num_threads()));
  shared_.fit(head_.format, values);
  for (Scratch& s : scratch_) s.rows.fit(head_.format, values);
}

// What a waiting member fetches: the panels that it will multiply first.
Ahead InferenceEngine::share(const PackedMatrix& w, const Team::Member& member) const {
  const int64_t begin = member.begin(w.panels), bytes = panel_bytes(w.format, w.in);
  return {w.data + begin * bytes, std::min(kAhead, (member.end(w.panels) - begin) * bytes)};
}

void InferenceEngine::normalise(const std::vector<float>& weight, int64_t row, float* out) const {
  float rstd;
  kernels().f32.add_rms_norm(1, options_.hidden, residual_.data() + row * options_.hidden, nullptr,
                             weight.data(), static_cast<float>(options_.norm_epsilon), nullptr, out,
                             &rstd);
}

// Returns the rows that a product reads. make(r) computes row r where it is not there yet; then the
// rows are converted to what the panels' format reads. Every member does that for itself when there
// are few rows; many are shared out among all members.
template <class MakeRow>
PackedInput InferenceEngine::gather(const PackedMatrix& w, int64_t rows, const float* x,
                                    PackedScratch& own, const Team::Member& member,
                                    const MakeRow& make) {
  const bool alone = rows <= kAlone || member.size == 1;
  PackedScratch& scratch = alone ? own : shared_;
  const int64_t begin = alone ? 0 : member.begin(rows), end = alone ? rows : member.end(rows);
  for (int64_t r = begin; r < end; ++r) make(r);
  prepare(w, begin, end, x, scratch);
  if (!alone) member.wait(share(w, member));
  return prepared(w, x, scratch);
}

// Adds product_ + bias to the residual stream, for the columns of panels [first, last).
void InferenceEngine::add(const Pass& pass, const PackedMatrix& w, const std::vector<float>& bias,
                          int64_t first, int64_t last) {
  const int64_t hidden = options_.hidden, begin = first * kPanel,
                end = std::min(hidden, last * kPanel);
  for (int64_t r = 0; r < pass.size(); ++r) {
    float* to = residual_.data() + r * hidden;
    const float* from = product_.data() + r * w.stride_out();
    if (bias.empty()) {
      for (int64_t i = begin; i < end; ++i) to[i] += from[i];
    } else {
      for (int64_t i = begin; i < end; ++i) to[i] += from[i] + bias[i];
    }
  }
}

// Sets result_ = silu(gate) · up for the pairs of panels [begin, end).
void InferenceEngine::multiply_gate(const Pass& pass, const Layer& l, int64_t begin, int64_t end) {
  constexpr int64_t kHalfPanel = kPanel / 2;
  for (int64_t r = 0; r < pass.size(); ++r) {
    float* from = gate_up_.data() + r * l.gate_up.stride_out();
    float* to = result_.data() + r * l.down.stride_in();
    for (int64_t p = begin; p < end; ++p) {
      const int64_t count = std::min(kHalfPanel, options_.intermediate - p * kHalfPanel);
      float *gate = from + p * kPanel, *up = gate + kHalfPanel;
      for (int64_t c = 0; c < count && !l.gate_bias.empty(); ++c)
        gate[c] += l.gate_bias[p * kHalfPanel + c];
      for (int64_t c = 0; c < count && !l.up_bias.empty(); ++c)
        up[c] += l.up_bias[p * kHalfPanel + c];
      kernels().f32.swiglu(count, gate, up, to + p * kHalfPanel);
    }
  }
}

// Members wait for each other five times a layer: after each product and after the attention.
void InferenceEngine::run(Pass& pass, const Team::Member& member) {
  Scratch& scratch = scratch_[member.rank];
  const int64_t n = pass.size();
  float* normalised = n <= kAlone ? scratch.normalised.data() : normalised_.data();
  const auto nothing = [](int64_t) {};
  const auto multiply = [&](const PackedMatrix& w, const float* x, std::vector<float>& y,
                            const auto& row, const auto& finish) {
    const PackedInput rows = gather(w, n, x, scratch.rows, member, row);
    member.deal(w.panels, [&](int64_t begin, int64_t end) {
      product(w, n, rows, begin, end, y.data());
      finish(begin, end);
    });
  };
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& l = layers_[i];
    const auto index = static_cast<int64_t>(i);
    const auto norm = [&](const std::vector<float>& weight, const PackedMatrix& w) {
      return
          [&, stride = w.stride_in()](int64_t r) { normalise(weight, r, normalised + r * stride); };
    };
    multiply(l.qkv, normalised, qkv_, norm(l.attention_norm, l.qkv), [](int64_t, int64_t) {});
    member.wait(share(l.output, member));
    pass.halves ? attend<uint16_t>(pass, index, scratch, member)
                : attend<float>(pass, index, scratch, member);
    member.wait(share(l.output, member));
    multiply(l.output, attended_.data(), product_, nothing,
             [&](int64_t begin, int64_t end) { add(pass, l.output, l.output_bias, begin, end); });
    member.wait(share(l.gate_up, member));
    multiply(l.gate_up, normalised, gate_up_, norm(l.mlp_norm, l.gate_up),
             [&](int64_t begin, int64_t end) { multiply_gate(pass, l, begin, end); });
    member.wait(share(l.down, member));
    multiply(l.down, result_.data(), product_, nothing,
             [&](int64_t begin, int64_t end) { add(pass, l.down, l.down_bias, begin, end); });
    member.wait(share(i + 1 < layers_.size() ? layers_[i + 1].qkv : head_, member));
  }
  for (int64_t r = member.begin(n); r < member.end(n); ++r)
    normalise(norm_, r, pass.out + r * options_.hidden);
}

at::Tensor InferenceEngine::logits(const at::Tensor& hidden) {
  const int64_t n = hidden.size(0), stride = head_.stride_in();
  const at::Tensor source = hidden.contiguous();
  std::vector<float> padded;
  const float* x = data<float>(source);
  if (stride != options_.hidden) {
    padded.assign(n * stride, 0.0f);
    for (int64_t r = 0; r < n; ++r)
      std::copy_n(x + r * options_.hidden, options_.hidden, padded.data() + r * stride);
    x = padded.data();
  }
  at::Tensor out = at::empty({n, head_.stride_out()}, at::TensorOptions(at::kFloat));
  fit_scratch(n * stride);
  Team::run([&](const Team::Member& member) {
    const PackedInput rows =
        gather(head_, n, x, scratch_[member.rank].rows, member, [](int64_t) {});
    member.deal(head_.panels, [&](int64_t begin, int64_t end) {
      product(head_, n, rows, begin, end, data<float>(out));
    });
  });
  return out.narrow(1, 0, options_.vocabulary).contiguous();
}

}  // namespace continuo
