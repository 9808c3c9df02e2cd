// Keys and values as plain tensors on any device, contiguous per sequence and layer, in the dtype
// of the products, and the inputs of states in float32. What the reference backend reads.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/kv_cache.h"

namespace continuo {

class TensorKVCache : public KVCache {
 public:
  // Error: a layer in 8 bits.
  TensorKVCache(std::span<const LayerCache> layers, at::Device device);

  // Of one layer: [2 (keys, values), kv_heads, capacity, dim], or [held, width] of a state.
  const at::Tensor& storage(int64_t sequence, int64_t layer) const {
    return storage_[sequence][layer];
  }
  const LayerCache& layer(int64_t index) const { return layers_[index]; }
  int64_t bytes() const override;

 private:
  void added(int64_t sequence) override;
  void forked(int64_t from, int64_t to) override;
  void removed(int64_t sequence) override { storage_[sequence].clear(); }
  void make_room(int64_t sequence, int64_t length) override;
  int64_t shortened(int64_t sequence, int64_t asked) override;

  std::vector<LayerCache> layers_;
  at::Device device_;
  std::vector<std::vector<at::Tensor>> storage_;  // by sequence and layer
};

}  // namespace continuo
