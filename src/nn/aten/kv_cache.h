// Keys and values as plain tensors on any device, contiguous per sequence and layer, in the dtype
// of the products. What the reference attention reads.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/kv_cache.h"

namespace continuo {

class TensorKVCache : public KVCache {
 public:
  // Error: a layer in 8 bits.
  TensorKVCache(std::span<const LayerCache> layers, at::Device device);

  // [2 (keys, values), kv_heads, capacity, dim] of one layer.
  const at::Tensor& storage(int64_t sequence, int64_t layer) const {
    return storage_[sequence][layer];
  }
  int64_t bytes() const override;

 private:
  void added(int64_t sequence) override;
  void forked(int64_t from, int64_t to) override;
  void removed(int64_t sequence) override { storage_[sequence].clear(); }
  void make_room(int64_t sequence, int64_t length) override;

  std::vector<KeyLayer> layers_;
  at::Device device_;
  std::vector<std::vector<at::Tensor>> storage_;  // by sequence and layer
};

}  // namespace continuo
