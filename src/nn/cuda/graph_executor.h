// The modules' executor on a GPU, whose passes of single tokens are recorded: for so many rows and
// sequences of up to so many tokens once, then launched as one graph instead of some twenty kernels
// a layer. Other passes, and models that a graph cannot hold, go as they do without it.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "nn/aten/module_executor.h"
#include "nn/cuda/device_graph.h"
#include "nn/cuda/slot_cache.h"

namespace continuo {

class GraphExecutor : public ModuleExecutor {
 public:
  GraphExecutor(const std::shared_ptr<Transformer>& model, const ExecutorOptions& options,
                MakeDeviceGraph make);

  std::string description() const override;
  PassResult run(const Pass& pass) override;
  void refresh() override;

  int64_t replays() const { return replays_; }  // passes that were one launch

 private:
  // A pass of `rows` rows: what it reads and where its results are, in memory that stays.
  struct Recorded {
    int64_t rows = 0;
    at::Tensor words, positions;       // [rows] int64
    SlotPlan plan;                     // of as many sequences
    std::shared_ptr<SlotCache> slots;  // that plan, over the cache's tensors
    at::Tensor hidden, logits;         // [rows, hidden], [rows, V]
    std::unique_ptr<DeviceGraph> graph;
  };
  // A shape of passes, and how many came before it was recorded.
  struct Shape {
    int64_t passes = 0;
    Recorded recorded;
  };

  bool fits(const Pass& pass) const;
  // What was recorded for a pass of this shape, or null: not yet.
  Recorded* recorded(int64_t rows, SlotCache& cache, int64_t longest);
  void record(Recorded& recorded, SlotCache& cache, int64_t longest);

  MakeDeviceGraph make_;
  bool holds_;                                           // a graph can hold the model's passes
  std::map<std::pair<int64_t, int64_t>, Shape> shapes_;  // by rows and longest sequence
  int64_t replays_ = 0;
};

}  // namespace continuo
