#include "nn/cuda/slot_cache.h"

#include <algorithm>

#include <ATen/ops/empty.h>

#include "core/error.h"
#include "nn/upload.h"

namespace continuo {

namespace {

constexpr int64_t kChunk = 128;  // rows that a run grows by at least

int64_t rounded(int64_t rows) { return (rows + kChunk - 1) / kChunk * kChunk; }

}  // namespace

SlotCache::SlotCache(std::span<const LayerCache> layers, at::Device device) {
  const auto options = at::TensorOptions(at::kBFloat16).device(device);
  for (const LayerCache& layer : layers) {
    const auto* spec = std::get_if<KeyLayer>(&layer);
    if (!spec || spec->format != KVFormat::bf16) fail("a slot holds keys and values in bf16");
    layers_.push_back({at::empty({0, spec->kv_heads, spec->key_dim}, options),
                       at::empty({0, spec->kv_heads, spec->value_dim}, options)});
  }
}

const SlotPlan& SlotCache::plan(std::span<const int64_t> ids,
                                const std::vector<int64_t>& boundaries) {
  if (!plan_) plan_ = padded_plan(ids, boundaries, std::ssize(ids));
  return *plan_;
}

SlotPlan SlotCache::padded_plan(std::span<const int64_t> ids,
                                const std::vector<int64_t>& boundaries, int64_t documents) {
  std::vector<int64_t> rows, starts, lengths;
  for (size_t d = 0; d < ids.size(); ++d) {
    const int64_t past = length(ids[d]), count = boundaries[d + 1] - boundaries[d];
    for (int64_t i = 0; i < count; ++i) rows.push_back(start(ids[d]) + past + i);
    starts.push_back(start(ids[d]));
    lengths.push_back(past + count);
  }
  if (documents > std::ssize(ids) && nobodys_.room == 0) nobodys_ = take(kChunk);
  for (int64_t d = std::ssize(ids); d < documents; ++d) {
    rows.push_back(nobodys_.start);
    starts.push_back(nobodys_.start);
    lengths.push_back(1);
  }
  starts.push_back(rows_);
  const at::Device device = layers_.front().keys.device();
  return {.rows = index_tensor(rows, device),
          .starts = offset_tensor(starts, device),
          .lengths = offset_tensor(lengths, device),
          .longest = std::ranges::max(lengths)};
}

std::shared_ptr<SlotCache> SlotCache::recorded(const SlotPlan& plan) {
  auto cache =
      std::make_shared<SlotCache>(std::span<const LayerCache>(), layers_.front().keys.device());
  cache->layers_ = layers_;
  cache->rows_ = rows_;
  cache->is_recorded_ = true;
  for (int64_t d = 0; d < plan.lengths.size(0); ++d) {
    const int64_t id = cache->add();
    cache->commit(id, plan.longest - 1);
  }
  cache->plan_ = plan;
  std::erase_if(recorded_, [](const auto& known) { return known.expired(); });
  recorded_.push_back(cache);
  return cache;
}

int64_t SlotCache::bytes() const {
  int64_t total = 0;
  for (const Layer& layer : layers_)
    total += static_cast<int64_t>(layer.keys.nbytes() + layer.values.nbytes());
  return total;
}

void SlotCache::added(int64_t sequence) {
  if (sequence == std::ssize(runs_)) runs_.emplace_back();
  runs_[sequence] = {};
}

void SlotCache::forked(int64_t from, int64_t to) {
  runs_[to] = take(rounded(std::max<int64_t>(1, length(from))));
  copy_rows(runs_[from].start, runs_[to].start, length(from));
}

void SlotCache::removed(int64_t sequence) {
  give_back(runs_[sequence]);
  runs_[sequence] = {};
}

void SlotCache::make_room(int64_t sequence, int64_t length) {
  if (is_recorded_) return;
  plan_.reset();
  const Run held = runs_[sequence];
  if (length <= held.room) return;
  // Growing by half keeps the copies linear in the final length.
  const Run grown = take(rounded(std::max(length, held.room + held.room / 2)));
  copy_rows(held.start, grown.start, this->length(sequence));
  give_back(held);
  runs_[sequence] = grown;
}

void SlotCache::grown(int64_t /*sequence*/) {
  if (!is_recorded_) plan_.reset();
}

SlotCache::Run SlotCache::take(int64_t room) {
  const auto fits = std::ranges::find_if(free_, [&](const Run& run) { return run.room >= room; });
  if (fits == free_.end()) {
    const int64_t before = rows_;
    resize(rounded(std::max(rows_ + room, rows_ + rows_ / 2)));
    give_back({before, rows_ - before});
    return take(room);
  }
  const Run taken = {fits->start, room};
  fits->start += room;
  fits->room -= room;
  if (fits->room == 0) free_.erase(fits);
  return taken;
}

void SlotCache::give_back(Run run) {
  if (run.room == 0) return;
  auto next =
      std::ranges::find_if(free_, [&](const Run& other) { return other.start > run.start; });
  if (next != free_.end() && run.end() == next->start) {
    run.room += next->room;
    next = free_.erase(next);
  }
  if (next != free_.begin() && std::prev(next)->end() == run.start) {
    std::prev(next)->room += run.room;
    return;
  }
  free_.insert(next, run);
}

void SlotCache::copy_rows(int64_t from, int64_t to, int64_t count) {
  if (count == 0) return;
  for (const Layer& layer : layers_) {
    for (const at::Tensor& all : {layer.keys, layer.values})
      all.narrow(0, to, count).copy_(all.narrow(0, from, count));
  }
}

void SlotCache::resize(int64_t rows) {
  // Or the old tensors would stay beside the new ones.
  for (const std::weak_ptr<SlotCache>& known : recorded_) {
    if (const std::shared_ptr<SlotCache> cache = known.lock()) cache->layers_.clear();
  }
  recorded_.clear();
  for (Layer& layer : layers_) {
    for (at::Tensor* all : {&layer.keys, &layer.values}) {
      at::Tensor larger = at::empty({rows, all->size(1), all->size(2)}, all->options());
      larger.narrow(0, 0, rows_).copy_(*all);
      *all = larger;
    }
  }
  rows_ = rows;
}

}  // namespace continuo
