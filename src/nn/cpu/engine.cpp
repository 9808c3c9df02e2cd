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
  for (size_t i = 0; i < layers_.size(); ++i)
    set_norms(layers_[i], spec.blocks[i].norm, weights_.blocks[i]);
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

}  // namespace continuo
