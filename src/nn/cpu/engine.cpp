#include "nn/cpu/engine.h"

#include <algorithm>
#include <cstring>

#include <ATen/Parallel.h>
#include <ATen/core/IListRef.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "core/log.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"

namespace continuo {

namespace {

// What tells whether a weight is still the one that was packed. Those in files do not change.
std::vector<TensorState> sources_of(const ModelWeights& w) {
  std::vector<TensorState> sources;
  const auto add = [&](const at::Tensor& t) { sources.push_back(state_of(t)); };
  for (const auto& [place, linear] : w.matrices) {
    add(linear.weight.in_memory());
    add(linear.bias);
  }
  for (const BlockWeights& b : w.blocks) {
    add(b.kernel);
    add(b.kernel_bias);
  }
  add(w.head.in_memory());
  return sources;
}

}  // namespace

CpuEngine::CpuEngine(std::shared_ptr<Transformer> model, const ExecutorOptions& options)
    : model_(std::move(model)),
      options_(options),
      rope_(model_->spec()),
      joints_(joints_of(model_->spec())) {
  weights_ = model_->weights();
  pack();
  log_debug("the CPU's engine serves: {:.1f} MB of {}", static_cast<double>(weight_bytes()) / 1e6,
            description());
}

void CpuEngine::pack() {
  const c10::NoGradGuard no_grad;
  // The context bounds nothing here; embedding and head are bound where they are computed, blocks
  // where their layers are made.
  const auto& [context, embedding, blocks, norm, head] = model_->spec();
  if (!arena_) {
    int64_t bytes = 0;
    for (const Joint& joint : joints_)
      bytes += packed_bytes(format_of(joint), joint_rows(joint, weights_));
    bytes += packed_bytes(head_format(), PanelRows({weights_.head}));
    arena_.emplace(bytes);
  }
  arena_->clear();
  matrices_.clear();
  parameters_ = 0;
  for (const Joint& joint : joints_) {
    const PackedMatrix& w = matrices_.emplace_back(
        continuo::pack(*arena_, format_of(joint), joint_rows(joint, weights_)));
    parameters_ += w.in * w.stride_out();
    note(w);
  }
  layers_ = engine_layers(model_->spec(), joints_, weights_);
  head_ = continuo::pack(*arena_, head_format(), PanelRows({weights_.head}));
  note(head_);
  if (options_.weights == WeightFormat::blocks && !stored_) options_.weights = WeightFormat::f32;
  norm_ = {norm, weights_.norm};
  sources_ = sources_of(weights_);
}

void CpuEngine::note(const PackedMatrix& w) {
  reads_.insert(w.reads);
  stored_ = stored_ || is_stored(w.format());
}

// A router is small, and what it rounds away is another expert.
WeightFormat CpuEngine::format_of(const Joint& joint) const {
  return joint.parts[0].matrix == Matrix::router ? WeightFormat::f32 : options_.weights;
}

// Four bits of an embedding or a head lose most.
WeightFormat CpuEngine::head_format() const {
  return options_.weights == WeightFormat::q4 ? WeightFormat::q8 : options_.weights;
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
  const bool integers = options_.weights == WeightFormat::blocks;
  return fmt::format("packed {} panels{}, {}", integers ? "fp32" : name(options_.weights),
                     integers  ? ", a file's blocks as they lie with activations in 8 bits"
                     : stored_ ? ", a file's blocks as they lie"
                               : "",
                     kernels().instruction_set);
}

std::unique_ptr<KVCache> CpuEngine::make_cache() const {
  return std::make_unique<PagedKVCache>(cache_layout(spec(), cache_format(options_)));
}

int64_t CpuEngine::weight_bytes() const {
  int64_t bytes = head_.bytes();
  for (const PackedMatrix& w : matrices_) bytes += w.bytes();
  return bytes;
}

std::vector<HeldWeights> CpuEngine::held_weights() const {
  std::vector<HeldWeights> held;
  const auto add = [&](const std::string& what, std::string_view form, int64_t bytes) {
    const auto same = std::ranges::find_if(
        held, [&](const HeldWeights& h) { return h.what == what && h.form == form; });
    if (same != held.end()) {
      same->bytes += bytes;
    } else if (bytes > 0) {
      held.push_back({what, std::string(form), bytes});
    }
  };
  const auto add_matrix = [&](const std::string& what, const PackedMatrix& w) {
    for (const PanelRange& run : w.runs)
      add(what, panel_name(run.format), (run.end - run.first) * panel_bytes(run.format, w.in));
    add(what, "exceptions", static_cast<int64_t>(w.exceptions.size() * sizeof(Exception)));
  };
  for (const PackedMatrix& w : matrices_) add_matrix("matrices of the layers", w);
  const bool tied = !weights_.embedding.defined();
  add_matrix(tied ? "embedding and head, which are one" : "head", head_);
  if (const at::Tensor& table = weights_.embedding.in_memory(); table.defined())
    add("embedding", c10::toString(table.scalar_type()), static_cast<int64_t>(table.nbytes()));
  return held;
}

Head CpuEngine::head() const {
  return {.weight = model_->head_weight(),
          .product = ProductWeight(head_matrix(), device()),
          .softcap = spec().head.softcap};
}

WeightMatrix CpuEngine::matrix(const MatrixPlace& place) const {
  for (size_t j = 0; j < joints_.size(); ++j) {
    const auto& [parts, paired] = joints_[j];
    PackedPart part = {.out = 0, .paired = paired};
    for (const MatrixPlace& here : parts) {
      part.out = weights_.matrices.at(here).weight.out();
      if (here == place) {
        const PackedMatrix& w = matrices_[j];
        return {part.out, w.in,
                [&w, part](int64_t begin, int64_t end) { return unpack(w, part, begin, end); }};
      }
      part.second = true;
      if (!paired) part.first += part.out;
    }
  }
  fail("the model has no such matrix");
}

WeightMatrix CpuEngine::head_matrix() const {
  const int64_t rows = spec().embedding.vocabulary;
  return {rows, head_.in, [this, rows](int64_t begin, int64_t end) {
            if (end - begin != 1) return unpack(head_, {.out = rows}, begin, end);
            const at::Tensor row = at::empty({1, head_.in}, at::TensorOptions(at::kFloat));
            unpack_row(head_, begin, data<float>(row));
            return row;
          }};
}

// Measured with 1 … 16 sequences of a 135M model on two Zen 4 cores.
PassTime CpuEngine::pass_time() const {
  switch (options_.weights) {
    case WeightFormat::f32:
      return {.extra = 0.07, .arithmetic = 0.23};
    case WeightFormat::bf16:
      return {.extra = 0.14, .arithmetic = 0.24};
    case WeightFormat::q8:
    case WeightFormat::blocks:
      return {.extra = 0.2, .arithmetic = 0.38};
    case WeightFormat::q4:
      return {.extra = 0.3, .arithmetic = 0.54};
  }
  return {};
}

int64_t CpuEngine::add_adapter(const AdapterWeights& adapter) {
  const c10::NoGradGuard no_grad;
  adapters_.try_emplace(next_adapter_, adapter, joints_, weights_);
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
  if (pass.wanted.empty()) return result;
  result.logits = logits(result.hidden.index_select(0, index_tensor(pass.wanted, device())));
  return result;
}

at::Tensor CpuEngine::forward(const Pass& in) {
  auto* cache = dynamic_cast<PagedKVCache*>(&in.cache);
  if (!cache) fail("the cache belongs to another executor");
  const CachedSequences cached = {in.cache, in.sequences};
  const std::vector<int64_t> lengths = document_lengths(in.input, &cached);
  const at::Tensor embedded =
      embed_tokens(spec(), embedding_rows(in.input.tokens), weights_.positions, in.input, lengths)
          .contiguous();
  const std::vector<Rotation> rotations = rope_.rotations(in.input, lengths);
  const int64_t documents = in.input.documents(), hidden = spec().embedding.hidden;
  for (int64_t d = 0; d < documents; ++d) cache->prepare(in.sequences[d], in.input.length(d));
  const int64_t members = members_for(in.input.boundaries.back() * parameters_);
  EnginePass pass(spec(), in.input, *cache, in.sequences, members);
  for (int64_t i = 0; i < spec().layers(); ++i) {
    const Rotation& rotation = rope_.of(rotations, i);
    pass.rotations.push_back(rotation.cos.defined() ? &rotation : nullptr);
  }
  add_adapters(pass, in);
  fit_buffers(pass);
  fit_attention(pass);
  fit_experts(pass);
  std::memcpy(residual_.data(), data<float>(embedded), pass.rows * hidden * sizeof(float));
  const at::Tensor out = at::empty({pass.rows, hidden}, at::TensorOptions(at::kFloat));
  pass.out = data<float>(out);
  Team::run(members, [&](const Team::Member& member) { run(pass, member); });
  for (int64_t d = 0; d < documents; ++d) cache->commit(in.sequences[d], in.input.length(d));
  return out;
}

at::Tensor CpuEngine::embedding_rows(const at::Tensor& tokens) const {
  const WeightMatrix& table = weights_.embedding;
  if (table.in_memory().defined()) return at::embedding(table.in_memory(), tokens);
  return gather_rows(table.defined() ? table : head_matrix(), tokens);
}

void CpuEngine::add_adapters(EnginePass& pass, const Pass& in) {
  for (size_t d = 0; d < in.adapters.size(); ++d) {
    if (in.adapters[d] == kNoAdapter) continue;
    const EngineAdapter& adapter = adapters_.at(in.adapters[d]);
    pass.adapted.push_back({&adapter, in.input.boundaries[d], in.input.boundaries[d + 1]});
  }
}

int64_t CpuEngine::members_for(int64_t products) {
  constexpr int64_t kWorth = 2 << 20;
  return products < kWorth ? 1 : at::get_num_threads();
}

void CpuEngine::fit_buffers(const EnginePass& pass) {
  const int64_t n = pass.rows, hidden = spec().embedding.hidden, stride = packed_inputs(hidden);
  int64_t in = 0, widest_out = 0;
  fit(residual_, n * hidden);
  fit(normalised_, n * stride);
  for (const EngineLayer& l : layers_) {
    fit(mixer_in_, n * matrices_[l.in].stride_out());
    fit(mixed_, n * matrices_[l.out].stride_in());
    fit(product_, n * matrices_[l.out].stride_out());
    for (const EngineDense& dense : l.mlps()) {
      fit(gate_up_, n * matrices_[dense.in].stride_out());
      fit(result_, n * matrices_[dense.out].stride_in());
      fit(product_, n * matrices_[dense.out].stride_out());
    }
  }
  for (const PackedMatrix& w : matrices_) {
    in = std::max(in, w.stride_in());
    widest_out = std::max(widest_out, w.stride_out());
  }
  int64_t adapted = 0;
  for (const AdapterRun& run : pass.adapted) adapted = std::max(adapted, run.adapter->widest());
  if (adapted > 0) {
    fit(down_ranks_, n * adapted);
    fit(up_ranks_, n * widest_out);
  }
  fit_scratch(n * in);
  for (Scratch& s : scratch_) fit(s.normalised, std::min(n, kAlone) * stride);
}

void CpuEngine::fit_attention(const EnginePass& pass) {
  int64_t width = 0;
  for (const EngineLayer& l : layers_) {
    if (const auto* attend = std::get_if<EngineAttend>(&l.mixer))
      width = std::max(width, padded_dim(attend->spec.dim));
  }
  for (size_t kind = 0; kind < pass.plans.size(); ++kind) {
    const int64_t queries = pass.plans[kind].queries * pass.kinds[kind].kv_heads;
    fit(partial_, queries * width);
    if (std::ssize(parts_) < queries) parts_.resize(queries);
  }
}

void CpuEngine::fit_experts(const EnginePass& pass) {
  const int64_t n = pass.rows, hidden = spec().embedding.hidden, stride = packed_inputs(hidden);
  for (const EngineLayer& l : layers_) {
    const auto* experts = std::get_if<EngineExperts>(&l.mlp);
    if (!experts) continue;
    fit(routed_, n * matrices_[experts->router].stride_out());
    fit(gathered_, n * stride);
    fit(experts_sum_, n * hidden);
    for (Scratch& s : scratch_) fit(s.gathered, std::min(n, kAlone) * stride);
    const auto choices = static_cast<size_t>(n * experts->spec.chosen);
    if (choices_.size() < choices) choices_.resize(choices);
  }
}

void CpuEngine::fit_scratch(int64_t values) {
  scratch_.resize(std::max<size_t>(scratch_.size(), at::get_num_threads()));
  for (const Activations form : reads_) {
    shared_.fit(form, values);
    for (Scratch& s : scratch_) s.rows.fit(form, values);
  }
}

}  // namespace continuo
