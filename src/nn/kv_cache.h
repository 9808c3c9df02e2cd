// Keys and values of the sequences that a generator holds: contiguous per sequence, grown in chunks, forkable.
// Belongs to the generator and is passed to Decoder::forward as an argument.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
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
  explicit KVCache(const Shape& shape);
  ~KVCache();
  KVCache(KVCache&&) noexcept;

  int64_t add();                  // a new empty sequence → its id
  int64_t fork(int64_t sequence); // a copy that shares nothing afterwards
  void remove(int64_t sequence);
  void truncate(int64_t sequence, int64_t length);
  int64_t length(int64_t sequence) const;

  // The sequences that the documents of the next forward call continue, in order.
  void activate(std::vector<int64_t> sequences);
  const std::vector<int64_t>& active() const { return active_; }

  // Called by attention. Appends keys and values [n, kv_heads, head_dim] of a document of the running forward call and
  // returns views of everything so far: keys, values [kv_heads, length + n, head_dim]. `commit` after the last layer
  // makes the new length visible.
  struct View {
    at::Tensor keys, values;
  };
  View append(int64_t layer, int64_t sequence, const at::Tensor& keys, const at::Tensor& values);
  void commit(int64_t sequence, int64_t count);

  int64_t bytes() const;

 private:
  struct Sequence;
  Shape shape_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::vector<int64_t> active_;
};

}  // namespace continuo
