// Attention over one page of keys: what prefill and decoding are made of, and the layout of pages.
// A page holds the keys and values of up to kPageKeys tokens, at absolute places: token t of a
// sequence lies in page t / kPageKeys. Per KV head of a layer:
//   keys    in groups of kKeyGroup tokens, [capacity / kKeyGroup][dim][kKeyGroup]: a vector holds
//           one dimension of as many keys as it has lanes, so that nothing is summed across lanes
//   values  [capacity][padded dim], the last ones zero
// as float, bfloat16, or int8 with a float scale for every key and every value. Of bfloat16 two
// dimensions of a key and two tokens' values lie side by side, [dim / 2][kKeyGroup][2] and
// [capacity / 2][padded dim][2], as instructions multiply them: with queries and exponentials that
// are rounded to bfloat16 too, whatever the instruction set. What no token was written to is zero.
// A score is one accumulator over ascending dimensions, an output one accumulator over ascending
// tokens, whatever the number of queries: the bits of a query do not depend on those beside it.
#pragma once

#include <cstdint>

#include "nn/activation.h"

namespace continuo {

inline constexpr int64_t kPageKeys = 256;
inline constexpr int64_t kKeyGroup = 16;

constexpr int64_t padded_dim(int64_t dim) { return (dim + kKeyGroup - 1) / kKeyGroup * kKeyGroup; }
constexpr int64_t key_width(int64_t dim) { return (dim + 1) / 2 * 2; }  // as keys lie in pages

// A query's share of a page, or of the pages before: Σ exp(score − high), beside Σ exp(score −
// high) · value. Nothing was seen where total is 0.
struct AttentionPart {
  float high, total;
};

// The keys [begin, end) of the page that a query sees; none where begin ≥ end.
struct KeyRange {
  int32_t begin, end;
};

template <class T>
struct PageInput {
  int64_t queries, key_dim, value_dim;
  const float* q;          // [queries, key_dim]
  const KeyRange* ranges;  // [queries]
  const T *keys, *values;
  const float *key_scales, *value_scales;  // [capacity]; of int8 alone
  float scale, softcap;                    // softcap 0: scores as they are
};

// A token's key and value for one KV head, and the page that they go to.
template <class T>
struct PageToken {
  int64_t key_dim, value_dim;
  int64_t at;                        // its place in the page
  const float *key, *value;          // [key_dim], [value_dim]
  T *keys, *values;                  // the page, as PageInput has it
  float *key_scales, *value_scales;  // of int8 alone
};

template <class T>
struct PageKernels {
  // → parts [queries], out [queries, padded value_dim]. scratch: room for page_scratch(key_dim).
  void (*attend)(const PageInput<T>& input, float* scratch, AttentionPart* parts, float* out);
  void (*write)(const PageToken<T>& token);
};
// The scores and queries of a group of queries.
inline constexpr int64_t kMostPageQueries = 8;
constexpr int64_t page_scratch(int64_t key_dim) {
  return kMostPageQueries * (kPageKeys + key_width(key_dim));
}

// Elementwise passes of the engine over rows of float32.
struct EngineKernels {
  // Adds a later page's part to those before it, in place: `dim` values of out, a multiple of
  // kKeyGroup.
  void (*merge)(int64_t dim, const AttentionPart& later, const float* later_out,
                AttentionPart& part, float* out);
  // out = activation(gate) · up, or activation(gate) where `up` is null; n elements.
  void (*gate)(Activation activation, int64_t n, const float* gate, const float* up, float* out);
  // LayerNorm of one row: y = (x − mean) · (var + eps)^-½ · weight + bias.
  void (*layer_norm)(int64_t n, const float* x, const float* weight, const float* bias, float eps,
                     float* y);
  // x becomes cap · tanh(x / cap); n elements.
  void (*cap)(int64_t n, float cap, float* x);
};

}  // namespace continuo
