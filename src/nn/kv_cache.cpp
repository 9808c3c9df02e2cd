#include "nn/kv_cache.h"

#include <algorithm>

#include <ATen/ops/empty.h>

namespace continuo {

int64_t KVCache::add() {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (!sequences_[i].live) {
      sequences_[i] = {.storage = {}, .length = 0, .live = true};
      return static_cast<int64_t>(i);
    }
  }
  sequences_.push_back({.storage = {}, .length = 0, .live = true});
  return static_cast<int64_t>(sequences_.size()) - 1;
}

int64_t KVCache::fork(int64_t sequence) {
  const int64_t copy = add();
  const Sequence& from = sequences_[sequence];
  if (from.length > 0) {
    reserve(copy, from.length);
    sequences_[copy]
        .storage.narrow(3, 0, from.length)
        .copy_(from.storage.narrow(3, 0, from.length));
    sequences_[copy].length = from.length;
  }
  return copy;
}

void KVCache::remove(int64_t sequence) { sequences_[sequence] = {}; }

void KVCache::truncate(int64_t sequence, int64_t length) {
  sequences_[sequence].length = std::min(sequences_[sequence].length, length);
}

void KVCache::reserve(int64_t sequence, int64_t count) {
  constexpr int64_t kChunk = 128;
  Sequence& s = sequences_[sequence];
  const int64_t capacity = s.storage.defined() ? s.storage.size(3) : 0;
  const int64_t needed = s.length + count;
  if (needed <= capacity) return;
  // Growing by half keeps the copies linear in the final length.
  const int64_t grown = (std::max(needed, capacity + capacity / 2) + kChunk - 1) / kChunk * kChunk;
  at::Tensor storage = at::empty({shape_.layers, 2, shape_.kv_heads, grown, shape_.head_dim},
                                 at::TensorOptions(shape_.dtype).device(shape_.device));
  if (s.length > 0) storage.narrow(3, 0, s.length).copy_(s.storage.narrow(3, 0, s.length));
  s.storage = std::move(storage);
}

at::Tensor KVCache::storage(int64_t sequence, int64_t layer) const {
  return sequences_[sequence].storage.select(0, layer);
}

int64_t KVCache::bytes() const {
  int64_t total = 0;
  for (const Sequence& s : sequences_) {
    if (s.storage.defined()) total += static_cast<int64_t>(s.storage.nbytes());
  }
  return total;
}

}  // namespace continuo
