// Keys and values of all sequences in two tensors a layer: a sequence has a run of rows, the same
// in every layer, so that one call attends for all of them. Runs grow by moving; the tensors grow
// by half.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/kv_cache.h"

namespace continuo {

// Where a pass finds its sequences, on the device.
struct SlotPlan {
  at::Tensor rows;     // [N] int64: where the new tokens go
  at::Tensor starts;   // [D+1] int32: the first row of each document's sequence, then anything
  at::Tensor lengths;  // [D] int32: of the sequences, the new tokens included
  int64_t longest = 0;
};

class SlotCache : public KVCache {
 public:
  struct Layer {
    at::Tensor keys, values;  // [rows, kv_heads, dim] bfloat16
  };

  // Error: layers that are not keys and values in bfloat16.
  SlotCache(std::span<const LayerCache> layers, at::Device device);

  // The first row of a sequence that has been prepared.
  int64_t start(int64_t sequence) const { return runs_[sequence].start; }
  const Layer& layer(int64_t index) const { return layers_[index]; }
  // Of the pass under way, between `prepare` and `commit` of its sequences: made by its first layer
  // and read by the others.
  const SlotPlan& plan(std::span<const int64_t> ids, const std::vector<int64_t>& boundaries);
  // The same of `documents`, those behind the sequences nobody's, of one token each.
  SlotPlan padded_plan(std::span<const int64_t> ids, const std::vector<int64_t>& boundaries,
                       int64_t documents);
  // The same memory for passes that are recorded with this plan, whose tensors later passes fill:
  // as many sequences as it has, all one token shorter than its longest. Preparing and committing
  // change nothing in the memory. When this cache's tensors grow it loses them.
  std::shared_ptr<SlotCache> recorded(const SlotPlan& plan);
  // Whether it was recorded of `cache`, and still has its memory.
  bool shares_memory_of(const SlotCache& cache) const {
    return !layers_.empty() && layers_[0].keys.is_same(cache.layers_[0].keys);
  }
  int64_t bytes() const override;

 private:
  // Rows [start, start + room) belong to a sequence, or to nobody.
  struct Run {
    int64_t start = 0, room = 0;
    int64_t end() const { return start + room; }
  };

  void added(int64_t sequence) override;
  void forked(int64_t from, int64_t to) override;
  void removed(int64_t sequence) override;
  void make_room(int64_t sequence, int64_t length) override;
  void grown(int64_t sequence) override;

  Run take(int64_t room);  // the lowest free rows; grows the tensors where there are none
  void give_back(Run run);
  void copy_rows(int64_t from, int64_t to, int64_t count);
  void resize(int64_t rows);

  std::vector<Layer> layers_;
  int64_t rows_ = 0;
  std::vector<Run> runs_;  // by sequence
  std::vector<Run> free_;  // by start; neighbours are one
  Run nobodys_;            // where the tokens of padding go
  std::optional<SlotPlan> plan_;
  bool is_recorded_ = false;
  std::vector<std::weak_ptr<SlotCache>> recorded_;
};

}  // namespace continuo
