// Causal attention of one head over one document, forward and backward, in tiles of kAttentionTile
// queries by as many keys (Dao et al., arXiv 2205.14135: online softmax forward, recomputed
// probabilities backward). Products of bfloat16 tensors take bfloat16 operands and sum in float, as
// the matrix products around them do.
#pragma once

#include <cstddef>
#include <cstdint>

namespace continuo {

inline constexpr int64_t kAttentionTile = 64;

// Query i sees the keys past − window + i < j ≤ past + i, all j ≤ past + i when window is 0; there
// are past + queries keys.
struct AttentionShape {
  int64_t queries = 0, past = 0;
  int64_t dim = 0;           // a multiple of 16
  int64_t query_stride = 0;  // elements between tokens of q, out and their gradients
  int64_t key_stride = 0;    // of k and v
  int64_t window = 0;
  float scale = 1;

  int64_t keys() const { return past + queries; }
};

constexpr int64_t attention_tiles(int64_t n) { return (n + kAttentionTile - 1) / kAttentionTile; }

// The tensors of one head, at query 0 and key 0.
template <class T>
struct AttentionForward {
  const T *q, *k, *v;
  const T* packed;  // from pack_values, or nullptr where that has no elements
  T* out;           // as q lies
  float* lse;       // [queries]
};

// The same of the backward pass, where past is 0: what it reads, and three shares of gradients
// [queries, dim].
template <class T>
struct AttentionBackward {
  const T *q, *k, *v, *out, *dout;
  const float* lse;
  float *dq, *dk, *dv;
};

// to[t, :] = Σ_g parts[g · part_stride + t · dim + :] for n tokens and g < group.
template <class T>
struct HeadSum {
  int64_t n, dim, group;
  const float* parts;
  int64_t part_stride;
  T* to;
  int64_t stride;  // elements between tokens of `to`
};

template <class T>
struct AttentionKernels {
  // Room that one call needs, in bytes, aligned to 64.
  int64_t (*forward_scratch)(int64_t dim);
  int64_t (*backward_scratch)(int64_t queries, int64_t dim);
  // Elements of the form in which the forward pass reads n values [n, dim] of a document; 0: it
  // reads them as they are.
  int64_t (*packed_values)(int64_t n, int64_t dim);
  void (*pack_values)(int64_t n, int64_t dim, int64_t stride, const T* values, T* packed);
  // Writes out and lse of the queries [begin, end), at most a tile, `begin` a multiple of it.
  void (*forward)(const AttentionShape& shape, const AttentionForward<T>& head, int64_t begin,
                  int64_t end, std::byte* scratch);
  // What the tiles of keys with number % parts == part give: writes dq, this part's share of it,
  // and those rows of dk and dv that belong to its keys, this head's share of them.
  void (*backward)(const AttentionShape& shape, const AttentionBackward<T>& head, int64_t part,
                   int64_t parts, std::byte* scratch);
  void (*sum_heads)(const HeadSum<T>& sum);
};

}  // namespace continuo
