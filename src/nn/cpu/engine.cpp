#include "nn/cpu/engine.h"

#include <algorithm>
#include <cstring>

#include <ATen/Parallel.h>
#include <ATen/core/IListRef.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "core/log.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"

namespace continuo {

namespace {

// Up to so many rows every member converts for itself, which is cheaper than a wait.
constexpr int64_t kAlone = 8;
constexpr int64_t kAhead = 96 << 10;  // bytes of its next panels that a waiting member fetches

// What tells whether a weight is still the one that was packed.
std::vector<std::pair<const void*, uint32_t>> sources_of(const ModelWeights& w) {
  std::vector<std::pair<const void*, uint32_t>> sources;
  const auto add = [&](const at::Tensor& t) {
    if (t.defined()) sources.emplace_back(t.const_data_ptr(), t.is_inference() ? 0 : t._version());
  };
  for (const BlockWeights& b : w.blocks) {
    for (const LinearWeights* l :
         {&b.query, &b.key, &b.value, &b.output, &b.gate, &b.up, &b.down}) {
      add(l->weight);
      add(l->bias);
    }
  }
  add(w.head);
  return sources;
}

}  // namespace

CpuEngine::CpuEngine(std::shared_ptr<Transformer> model, const ExecutorOptions& options)
    : model_(std::move(model)), options_(options), rope_(model_->spec()) {
  weights_ = model_->weights();
  pack();
  log_debug("the CPU's engine serves: {:.1f} MB of {}", static_cast<double>(weight_bytes()) / 1e6,
            description());
}

void CpuEngine::pack() {
  const c10::NoGradGuard no_grad;
  // The context bounds nothing here; embedding and head are bound where they are computed.
  const auto& [context, embedding, blocks, norm, head] = model_->spec();
  const PanelFormat plain = plain_panels(options_.weights);
  if (!arena_) {
    int64_t bytes =
        concatenated_panels({weights_.head}) * panel_bytes(plain, weights_.head.size(1));
    for (const BlockWeights& block : weights_.blocks) bytes += layer_bytes(block, plain);
    arena_.emplace(bytes);
  }
  arena_->clear();
  layers_.clear();
  parameters_ = 0;
  for (size_t i = 0; i < weights_.blocks.size(); ++i) {
    layers_.push_back(pack_layer(*arena_, options_.weights, blocks[i], weights_.blocks[i]));
  }
  for (const EngineLayer& l : layers_) {
    for (const PackedMatrix* w : {&l.qkv, &l.output, &l.gate_up, &l.down})
      parameters_ += w->in * w->stride_out();
  }
  head_ = pack_concatenated(*arena_, options_.weights, {weights_.head});
  norm_ = {norm, weights_.norm};
  unpacked_head_ = at::Tensor();
  sources_ = sources_of(weights_);
}

void CpuEngine::refresh() {
  weights_ = model_->weights();
  if (sources_of(weights_) != sources_) return pack();
  // Norms are cheap, and so is looking at them anew.
  const ModelSpec& spec = model_->spec();
  norm_ = {spec.norm, weights_.norm};
  for (size_t i = 0; i < layers_.size(); ++i) {
    const BlockWeights& w = weights_.blocks[i];
    const NormSpec& norm = spec.blocks[i].norm;
    layers_[i].mixer_norm = {norm, w.mixer_norm};
    layers_[i].mixer_post_norm = {norm, w.mixer_post_norm};
    layers_[i].mlp_norm = {norm, w.mlp_norm};
    layers_[i].mlp_post_norm = {norm, w.mlp_post_norm};
    layers_[i].query_norm = {norm, w.query_norm};
    layers_[i].key_norm = {norm, w.key_norm};
  }
}

std::string CpuEngine::description() const {
  return fmt::format("packed {} panels, {}", name(options_.weights), kernels().instruction_set);
}

std::unique_ptr<KVCache> CpuEngine::make_cache() const {
  return std::make_unique<PagedKVCache>(cache_layout(spec(), options_.cache));
}

int64_t CpuEngine::weight_bytes() const {
  int64_t bytes = head_.bytes();
  for (const EngineLayer& l : layers_)
    bytes += l.qkv.bytes() + l.output.bytes() + l.gate_up.bytes() + l.down.bytes();
  return bytes;
}

Head CpuEngine::head() const {
  const at::Tensor weight = weights_.head.detach();
  const bool exact = options_.weights == WeightFormat::f32 && weight.scalar_type() == at::kFloat;
  if (!exact && !unpacked_head_.defined())
    unpacked_head_ = unpack(head_, spec().embedding.vocabulary);
  return {weight, exact ? weight : unpacked_head_, spec().head.softcap};
}

// Measured with 1 … 16 sequences of a 135M model on two Zen 4 cores.
PassTime CpuEngine::pass_time() const {
  switch (options_.weights) {
    case WeightFormat::f32:
      return {.extra = 0.07, .arithmetic = 0.23};
    case WeightFormat::bf16:
      return {.extra = 0.14, .arithmetic = 0.24};
    case WeightFormat::q8:
      return {.extra = 0.2, .arithmetic = 0.38};
    case WeightFormat::q4:
      return {.extra = 0.3, .arithmetic = 0.54};
  }
  return {};
}

int64_t CpuEngine::add_adapter(const AdapterWeights& adapter) {
  const c10::NoGradGuard no_grad;
  adapters_.try_emplace(next_adapter_, adapter, spec(), weights_.blocks);
  return next_adapter_++;
}

namespace {

// Rows of a pass that are computed together: more would only push each other out of the caches.
constexpr int64_t kMostRows = 1024;

// The rows [begin, end) of a pass, in the documents that they belong to.
Pass rows_of_pass(const Pass& pass, int64_t begin, int64_t end) {
  const RaggedInput& in = pass.input;
  Pass part = {.input = {}, .cache = pass.cache, .sequences = {}};
  part.input.tokens = in.tokens.narrow(0, begin, end - begin);
  part.input.positions = in.positions.narrow(0, begin, end - begin);
  part.input.boundaries = {0};
  for (int64_t d = 0; d < in.documents(); ++d) {
    const int64_t first = std::max(begin, in.boundaries[d]),
                  last = std::min(end, in.boundaries[d + 1]);
    if (first >= last) continue;
    part.input.boundaries.push_back(last - begin);
    part.sequences.push_back(pass.sequences[d]);
    if (!pass.adapters.empty()) part.adapters.push_back(pass.adapters[d]);
  }
  return part;
}

}  // namespace

PassResult CpuEngine::run(const Pass& pass) {
  const c10::NoGradGuard no_grad;
  if (pass.input.documents() != std::ssize(pass.sequences)) {
    fail("{} cached sequences for {} documents", pass.sequences.size(), pass.input.documents());
  }
  const int64_t rows = pass.input.boundaries.back();
  PassResult result;
  if (rows <= kMostRows) {
    result.hidden = forward(pass);
  } else {
    std::vector<at::Tensor> parts;
    for (int64_t r = 0; r < rows; r += kMostRows)
      parts.push_back(forward(rows_of_pass(pass, r, std::min(rows, r + kMostRows))));
    result.hidden = at::cat(parts);
  }
  if (!pass.wanted.empty()) result.logits = logits(data<float>(result.hidden), pass.wanted);
  return result;
}

at::Tensor CpuEngine::forward(const Pass& in) {
  auto* cache = dynamic_cast<PagedKVCache*>(&in.cache);
  if (!cache) fail("the cache belongs to another executor");
  const CachedSequences cached = {in.cache, in.sequences};
  const std::vector<int64_t> lengths = document_lengths(in.input, &cached);
  const at::Tensor embedded =
      embed_tokens(spec(), weights_.embedding, weights_.positions, in.input, lengths).contiguous();
  const std::vector<Rotation> rotations = rope_.rotations(in.input, lengths);
  const int64_t documents = in.input.documents(), hidden = spec().embedding.hidden;
  for (int64_t d = 0; d < documents; ++d) cache->prepare(in.sequences[d], in.input.length(d));
  const int64_t members = members_for(in.input.boundaries.back() * parameters_);
  EnginePass pass(spec(), in.input, *cache, in.sequences, members);
  for (int64_t i = 0; i < spec().layers(); ++i) {
    const Rotation& rotation = rope_.of(rotations, i);
    pass.rotations.push_back(rotation.cos.defined() ? &rotation : nullptr);
  }
  int64_t widest = 0;
  for (int64_t d = 0; d < documents && !in.adapters.empty(); ++d) {
    if (in.adapters[d] == kNoAdapter) continue;
    const EngineAdapter& adapter = adapters_.at(in.adapters[d]);
    widest = std::max(widest, adapter.widest);
    pass.adapted.push_back({&adapter, in.input.boundaries[d], in.input.boundaries[d + 1]});
  }
  fit_buffers(pass.rows, widest);
  for (const AttentionPlan& plan : pass.plans) {
    const int64_t queries = plan.queries * pass.kinds[&plan - pass.plans.data()].kv_heads;
    int64_t width = 0;
    for (const EngineLayer& l : layers_) width = std::max(width, padded_dim(l.attend.dim));
    fit(partial_, queries * width);
    if (std::ssize(parts_) < queries) parts_.resize(queries);
  }
  std::memcpy(residual_.data(), data<float>(embedded), pass.rows * hidden * sizeof(float));
  const at::Tensor out = at::empty({pass.rows, hidden}, at::TensorOptions(at::kFloat));
  pass.out = data<float>(out);
  Team::run(members, [&](const Team::Member& member) { run(pass, member); });
  for (int64_t d = 0; d < documents; ++d) cache->commit(in.sequences[d], in.input.length(d));
  return out;
}

int64_t CpuEngine::members_for(int64_t products) {
  constexpr int64_t kWorth = 2 << 20;
  return products < kWorth ? 1 : at::get_num_threads();
}

void CpuEngine::fit_buffers(int64_t n, int64_t adapted) {
  int64_t in = 0, widest_out = 0;
  fit(residual_, n * spec().embedding.hidden);
  for (const EngineLayer& l : layers_) {
    fit(normalised_, n * l.qkv.stride_in());
    fit(qkv_, n * l.qkv.stride_out());
    fit(attended_, n * l.output.stride_in());
    fit(gate_up_, n * l.gate_up.stride_out());
    fit(result_, n * l.down.stride_in());
    fit(product_, n * std::max(l.output.stride_out(), l.down.stride_out()));
    in = std::max({in, l.qkv.stride_in(), l.output.stride_in(), l.down.stride_in()});
    widest_out = std::max({widest_out, l.qkv.stride_out(), l.gate_up.stride_out(),
                           l.output.stride_out(), l.down.stride_out()});
  }
  if (adapted > 0) {
    fit(down_ranks_, n * adapted);
    fit(up_ranks_, n * widest_out);
  }
  fit_scratch(n * in);
  for (Scratch& s : scratch_) fit(s.normalised, std::min(n, kAlone) * layers_[0].qkv.stride_in());
}

void CpuEngine::fit_scratch(int64_t values) {
  scratch_.resize(std::max<size_t>(scratch_.size(), at::get_num_threads()));
  shared_.fit(head_.format, values);
  for (Scratch& s : scratch_) s.rows.fit(head_.format, values);
}

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
