// Keys and values of the sequences that a generator holds: contiguous per sequence, grown in
// chunks, forkable. Belongs to the generator and is passed to Decoder::forward as an argument.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace continuo {

class KVCache {
 public:
  struct Shape {
    int64_t layers = 0, kv_heads = 0, head_dim = 0;
    at::ScalarType dtype = at::kFloat;
    at::Device device = at::kCPU;
  };
  explicit KVCache(const Shape& shape) : shape_(shape) {}

  int64_t add();                   // a new empty sequence → its id
  int64_t fork(int64_t sequence);  // a copy that shares nothing afterwards → its id
  void remove(int64_t sequence);   // frees its memory; the id may be given out again
  void truncate(int64_t sequence, int64_t length);
  int64_t length(int64_t sequence) const { return sequences_[sequence].length; }

  // The sequences that the documents of the next forward call continue, in order.
  void activate(std::vector<int64_t> sequences) { active_ = std::move(sequences); }
  const std::vector<int64_t>& active() const { return active_; }

  // A forward call reserves room for the new tokens, lets every layer write them into `storage`,
  // then commits.
  void reserve(int64_t sequence, int64_t count);
  void commit(int64_t sequence, int64_t count) { sequences_[sequence].length += count; }
  // [2 (keys, values), kv_heads, capacity, head_dim] of one layer.
  at::Tensor storage(int64_t sequence, int64_t layer) const;

  const Shape& shape() const { return shape_; }
  int64_t bytes() const;

 private:
  struct Sequence {
    at::Tensor storage;  // [layers, 2, kv_heads, capacity, head_dim]
    int64_t length = 0;
    bool live = false;
  };
  Shape shape_;
  std::vector<Sequence> sequences_;
  std::vector<int64_t> active_;
};

}  // namespace continuo
