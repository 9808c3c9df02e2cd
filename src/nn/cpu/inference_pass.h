// What the decode engine knows of the pass that it is in; for the engine's own files only.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/rope.h"
#include "nn/transformer_options.h"

namespace continuo {

// Keys of a unit of attention: fixed, so that sums do not depend on who computes them.
inline constexpr int64_t kSpan = 256;

// Grows only, zeros included: what lies between the values and their padded stride stays zero.
inline void fit(std::vector<float>& v, int64_t size) {
  if (static_cast<int64_t>(v.size()) < size) v.resize(size);
}

struct InferencePass {
  struct Row {
    int64_t document, visible;  // keys that it sees, itself included, without a window
  };
  struct Span {  // keys [begin, end) of a row; one unit of attention for each of its KV heads
    int64_t row, begin, end, index, count;  // index of count spans of this row
  };

  std::vector<Row> rows;
  std::vector<Span> everything, windowed;
  std::vector<void*> caches;  // storage of each document, [layers, 2, kv_heads, capacity, head_dim]
  std::vector<int64_t> capacities;
  bool halves = false;  // the cache's dtype is bfloat16
  bool single = true;   // no document has more than one row: none reads what another one writes
  const Rotation *far = nullptr, *near = nullptr;
  float* out = nullptr;  // [N, hidden]

  int64_t size() const { return static_cast<int64_t>(rows.size()); }
  // Keys of one KV head in a layer; its values lie kv_heads · capacity · head_dim further.
  template <class T>
  T* keys(const TransformerOptions& o, int64_t row, int64_t layer, int64_t head) const {
    const int64_t document = rows[row].document, capacity = capacities[document];
    return static_cast<T*>(caches[document]) +
           ((layer * 2 * o.kv_heads + head) * capacity) * o.head_dim;
  }
  template <class T>
  int64_t values_offset(const TransformerOptions& o, int64_t row) const {
    return o.kv_heads * capacities[rows[row].document] * o.head_dim;
  }
};

}  // namespace continuo
