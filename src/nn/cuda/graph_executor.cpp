#include "nn/cuda/graph_executor.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include <ATen/ops/arange.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include "core/log.h"
#include "nn/cuda/ops.h"
#include "nn/rope_tables.h"
#include "nn/upload.h"

namespace continuo {

namespace {

// More rows are bound by arithmetic: the launches of their kernels hide behind it.
constexpr int64_t kMostGraphRows = 256;
constexpr int64_t kShortest = 256;  // the least that a sequence's bound is
// Recording costs as much as a few passes; some shapes come but once or twice.
constexpr int64_t kPassesBefore = 2;

// What a pass of `rows` rows is recorded as: few shapes, little padding.
int64_t recorded_rows(int64_t rows) {
  if (rows <= 8) return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  const int64_t step = rows <= 64 ? 8 : 32;
  return (rows + step - 1) / step * step;
}

int64_t recorded_longest(int64_t longest, int64_t context) {
  const auto least = static_cast<uint64_t>(std::max(longest, kShortest));
  return std::min(static_cast<int64_t>(std::bit_ceil(least)), context);
}

// Whether passes launch the same kernels whatever the lengths of sequences and the values of
// tokens, and attention is one of these kernels.
bool graph_holds(const ModelSpec& spec) {
  return std::ranges::all_of(spec.blocks, [](const BlockSpec& block) {
    const auto* attend = std::get_if<Attend>(&block.mixer);
    if (!attend || !std::holds_alternative<Dense>(block.mlp)) return false;
    const bool by_length = attend->rotary && (attend->rotary->scaling.kind == RopeKind::dynamic ||
                                              attend->rotary->scaling.kind == RopeKind::longrope);
    return !by_length && cuda::attends_in_one_kernel(attend->dim, attend->softcap);
  });
}

}  // namespace

GraphExecutor::GraphExecutor(const std::shared_ptr<Transformer>& model,
                             const ExecutorOptions& options, MakeDeviceGraph make)
    : ModuleExecutor(model, options), make_(make), holds_(graph_holds(spec())) {
  if (holds_) model->reserve_positions(spec().context);
}

std::string GraphExecutor::description() const {
  return ModuleExecutor::description() + (holds_ ? ", single tokens by graphs" : "");
}

void GraphExecutor::refresh() {
  ModuleExecutor::refresh();
  shapes_.clear();  // they read what was there before
}

bool GraphExecutor::fits(const Pass& pass) const {
  const int64_t documents = pass.input.documents();
  if (!holds_ || documents > kMostGraphRows || pass.input.boundaries.back() != documents)
    return false;
  const bool adapted =
      std::ranges::any_of(pass.adapters, [](int64_t adapter) { return adapter != kNoAdapter; });
  return !adapted && dynamic_cast<SlotCache*>(&pass.cache) != nullptr;
}

PassResult GraphExecutor::run(const Pass& pass) {
  const c10::NoGradGuard no_grad;
  const CachedSequences cached = {pass.cache, pass.sequences};
  const int64_t longest = std::ranges::max(document_lengths(pass.input, &cached));
  // Tables of rotations that grow leave their place.
  if (longest > spec().context) shapes_.clear();
  if (longest > spec().context || !fits(pass)) return ModuleExecutor::run(pass);
  auto& cache = dynamic_cast<SlotCache&>(pass.cache);
  for (const int64_t id : pass.sequences) cache.prepare(id, 1);
  const int64_t rows = pass.input.documents(), padded = recorded_rows(rows);
  const SlotPlan plan = cache.padded_plan(pass.sequences, pass.input.boundaries, padded);
  Recorded* const r = recorded(padded, cache, recorded_longest(longest, spec().context));
  if (!r) return ModuleExecutor::run(pass);
  r->words.narrow(0, 0, rows).copy_(pass.input.tokens);
  r->positions.narrow(0, 0, rows).copy_(pass.input.positions);
  r->plan.rows.copy_(plan.rows);
  r->plan.starts.copy_(plan.starts);
  r->plan.lengths.copy_(plan.lengths);
  r->graph->replay();
  ++replays_;
  for (const int64_t id : pass.sequences) cache.commit(id, 1);
  // Copies: the next replay writes the same memory.
  PassResult result = {.hidden = r->hidden.narrow(0, 0, rows).clone(), .logits = {}};
  if (!pass.wanted.empty())
    result.logits = r->logits.index_select(0, index_tensor(pass.wanted, device()));
  return result;
}

GraphExecutor::Recorded* GraphExecutor::recorded(int64_t rows, SlotCache& cache, int64_t longest) {
  Shape& shape = shapes_[{rows, longest}];
  if (shape.recorded.graph && !shape.recorded.slots->shares_memory_of(cache)) shape = {};
  if (shape.recorded.graph) return &shape.recorded;
  if (++shape.passes <= kPassesBefore) return nullptr;
  shape.recorded.rows = rows;
  try {
    record(shape.recorded, cache, longest);
  } catch (const std::exception& error) {
    log_warning("passes are not recorded: {}", error.what());
    holds_ = false;
    shapes_.clear();
    return nullptr;
  }
  return &shape.recorded;
}

void GraphExecutor::record(Recorded& r, SlotCache& cache, int64_t longest) {
  const at::TensorOptions integers = at::TensorOptions(at::kLong).device(device());
  r.words = at::zeros({r.rows}, integers);
  r.positions = at::zeros({r.rows}, integers);
  // Nobody's rows, until a pass says whose.
  r.plan = cache.padded_plan({}, {0}, r.rows);
  r.plan.longest = longest;
  r.slots = cache.recorded(r.plan);
  std::vector<int64_t> boundaries(static_cast<size_t>(r.rows) + 1), ids(boundaries.size() - 1);
  std::iota(boundaries.begin(), boundaries.end(), 0);
  std::iota(ids.begin(), ids.end(), 0);
  const RaggedInput input = {.tokens = r.words,
                             .positions = r.positions,
                             .boundaries = boundaries,
                             .offsets = at::arange(r.rows + 1, integers.dtype(at::kInt))};
  r.graph = make_(device());
  // What the graph writes outlives it here, outside of its own memory.
  r.graph->record([this, &r, input, ids, longest] {
    for (const int64_t id : ids) r.slots->truncate(id, longest - 1);
    const Pass pass = {.input = input, .cache = *r.slots, .sequences = ids};
    const at::Tensor hidden = ModuleExecutor::run(pass).hidden, logits = this->logits(hidden);
    if (!r.hidden.defined()) {
      r.hidden = at::zeros_like(hidden);
      r.logits = at::zeros_like(logits);
    }
    r.hidden.copy_(hidden);
    r.logits.copy_(logits);
  });
}

namespace cuda {

std::unique_ptr<Executor> make_executor(const std::shared_ptr<Transformer>& model,
                                        const ExecutorOptions& options) {
  if (const MakeDeviceGraph make = installed_device_graphs())
    return std::make_unique<GraphExecutor>(model, options, make);
  return std::make_unique<ModuleExecutor>(model, options);
}

}  // namespace cuda

}  // namespace continuo
