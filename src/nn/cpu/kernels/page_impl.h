// Attention over pages (page.h). Included by kernels_impl.cpp only, once per instruction set.
#pragma once

#include "nn/cpu/kernels/page.h"

namespace continuo {
namespace {

#if defined(__AVX512F__)
constexpr int kMostQueries = 8, kAccumulators = 16;
#else
constexpr int kMostQueries = 6, kAccumulators = 6;
#endif
static_assert(kMostQueries <= kMostPageQueries && kKeyGroup == kLanes);

// Sums of products of sixteen lanes of a page with factors, kStep of them at a time.
template <class T>
struct PageDots {
  static constexpr int kStep = 1;
  using Factor = float;

  // Calls f(values, i): what add multiplies with factor number i of the step.
  template <class F>
  [[gnu::always_inline]] static void each(const T* at, const F& f) {
    f(load(at), 0);
  }
  static Vec add(Vec sum, Vec values, const float* factor) { return sum + values * splat(*factor); }
  // Sixteen factors, rounded to what is multiplied. → what became of them
  static Vec put(float* factors, Vec x) {
    store(factors, x);
    return x;
  }
};
#if defined(__AVX512BF16__)
template <>
struct PageDots<uint16_t> {
  static constexpr int kStep = 2;
  using Factor = uint16_t;

  template <class F>
  [[gnu::always_inline]] static void each(const uint16_t* at, const F& f) {
    f(load_as<VecU>(at), 0);
  }
  static Vec add(Vec sum, VecU values, const uint16_t* factors) {
    return dot2(sum, values, load_as<uint32_t>(factors));
  }
  static Vec put(uint16_t* factors, Vec x) {
    store(factors, x);
    return load(factors);
  }
};
#else
template <>
struct PageDots<uint16_t> : PageDots<float> {
  static constexpr int kStep = 2;

  template <class F>
  [[gnu::always_inline]] static void each(const uint16_t* at, const F& f) {
    const VecU both = load_as<VecU>(at);
    f(bits_as<Vec>(both << 16), 0);
    f(bits_as<Vec>(both & 0xffff0000u), 1);
  }
  static Vec put(float* factors, Vec x) {
    uint16_t halves[kLanes];
    store(halves, x);
    const Vec rounded = load(halves);
    store(factors, rounded);
    return rounded;
  }
};
#endif

// Rows of factors; of a group of queries, or of their scores.
template <class T>
struct FactorRows {
  using Factor = typename PageDots<T>::Factor;
  const Factor* at;
  int64_t stride;
};

// M queries as the products read them: as they are, or rounded into the scratch.
template <int M, class T>
inline FactorRows<T> query_factors(const PageInput<T>& in, int64_t query, float* scratch) {
  using Factor = typename PageDots<T>::Factor;
  const float* q = in.q + query * in.key_dim;
  const int64_t width = key_width(in.key_dim);
  if constexpr (PageDots<T>::kStep == 1) {
    return {q, in.key_dim};
  } else {
    auto* factors = reinterpret_cast<Factor*>(scratch);
    for (int m = 0; m < M; ++m, q += in.key_dim) {
      Factor* own = factors + m * width;
      int64_t d = 0;
      for (; d + kLanes <= in.key_dim; d += kLanes) PageDots<T>::put(own + d, load(q + d));
      if (d == in.key_dim) continue;
      float rest[kLanes] = {};
      Factor rounded[kLanes];
      for (int64_t i = d; i < in.key_dim; ++i) rest[i - d] = q[i];
      PageDots<T>::put(rounded, load(rest));
      for (int64_t i = d; i < width; ++i) own[i] = rounded[i - d];
    }
    return {factors, width};
  }
}

// Scores of M queries with V groups of keys, before the softmax.
template <int M, int V, class T>
inline void score_groups(const PageInput<T>& in, const FactorRows<T>& q, int64_t group,
                         float* scores) {
  using Dots = PageDots<T>;
  Vec sums[M][V] = {};
  const int64_t width = key_width(in.key_dim);
  const T* keys = in.keys + group * width * kKeyGroup;
  for (int64_t d = 0; d < in.key_dim; d += Dots::kStep) {
    for (int v = 0; v < V; ++v) {
      Dots::each(keys + (v * width + d) * kKeyGroup,
                 [&](auto k, int i) __attribute__((always_inline)) {
                   for (int m = 0; m < M; ++m)
                     sums[m][v] = Dots::add(sums[m][v], k, q.at + m * q.stride + d + i);
                 });
    }
  }
  for (int v = 0; v < V; ++v) {
    const int64_t at = (group + v) * kKeyGroup;
    for (int m = 0; m < M; ++m) {
      Vec s = sums[m][v] * in.scale;
      if constexpr (sizeof(T) == 1) s = s * load(in.key_scales + at);
      store(scores + m * kPageKeys + at, s);
    }
  }
}

// c · tanh(x / c)
inline Vec capped(Vec x, float cap) {
  const Vec e = exp(x * (2.0f / cap));
  return (1.0f - 2.0f / (e + 1.0f)) * cap;
}

// The largest of the scores of the groups [first, last) that the query sees; what it does not see
// becomes −∞, and what is capped is capped.
template <class T>
inline float highest_score(const PageInput<T>& in, KeyRange range, int64_t first, int64_t last,
                           float* scores) {
  static constexpr int32_t kCounting[kLanes] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                8, 9, 10, 11, 12, 13, 14, 15};
  const VecI lanes = load_as<VecI>(kCounting);
  Vec highs = splat(-__builtin_inff());
  for (int64_t g = first; g < last; ++g) {
    float* at = scores + g * kKeyGroup;
    Vec s = load(at);
    if (in.softcap > 0) s = capped(s, in.softcap);
    const bool whole = g * kKeyGroup >= range.begin && (g + 1) * kKeyGroup <= range.end;
    if (!whole) {
      const VecI place = lanes + static_cast<int32_t>(g * kKeyGroup);
      s = select(place >= broadcast<VecI>(range.begin), s, splat(-__builtin_inff()));
      s = select(place < broadcast<VecI>(range.end), s, splat(-__builtin_inff()));
    }
    if (!whole || in.softcap > 0) store(at, s);
    highs = max(highs, s);
  }
  return max(highs);
}

// Raw scores of the groups [first, last) become factors exp(score − high) in the same place, zero
// where the query sees nothing; of int8 the values' scales go in with them.
template <class T>
inline AttentionPart softmax_part(const PageInput<T>& in, KeyRange range, int64_t first,
                                  int64_t last, float* scores) {
  using Dots = PageDots<T>;
  const float high = highest_score(in, range, first, last, scores);
  // Factors are no wider than scores, so none is overwritten before it is read.
  auto* factors = reinterpret_cast<typename Dots::Factor*>(scores);
  Vec totals{};
  for (int64_t g = first; g < last; ++g) {
    const int64_t at = g * kKeyGroup;
    const Vec x = load(scores + at) - high;
    if constexpr (Dots::kStep == 2) {
      const Vec e = select(x < splat(-87.0f), Vec{}, exp_nonpositive<4>(x));
      totals += Dots::put(factors + at, e);
    } else {
      Vec e = exp(x);
      totals += e;
      if constexpr (sizeof(T) == 1) e = e * load(in.value_scales + at);
      Dots::put(factors + at, e);
    }
  }
  return {high, sum(totals)};
}

// Σ weight · value over the tokens [begin, end), for V vectors of M queries' outputs.
template <int M, int V, class T>
inline void weigh_values(const PageInput<T>& in, int64_t begin, int64_t end, int64_t column,
                         const FactorRows<T>& weights, float* out) {
  using Dots = PageDots<T>;
  const int64_t width = padded_dim(in.value_dim);
  Vec sums[M][V] = {};
  const T* values = in.values + begin * width + column * Dots::kStep;
  for (int64_t t = begin; t < end; t += Dots::kStep, values += Dots::kStep * width) {
    for (int v = 0; v < V; ++v) {
      Dots::each(values + v * kLanes * Dots::kStep,
                 [&](auto x, int i) __attribute__((always_inline)) {
                   for (int m = 0; m < M; ++m)
                     sums[m][v] = Dots::add(sums[m][v], x, weights.at + m * weights.stride + t + i);
                 });
    }
  }
  for (int m = 0; m < M; ++m) {
    for (int v = 0; v < V; ++v) store(out + m * width + column + v * kLanes, sums[m][v]);
  }
}

template <int M, class T>
void attend_queries(const PageInput<T>& in, int64_t query, float* scratch, AttentionPart* parts,
                    float* out) {
  using Dots = PageDots<T>;
  using Factor = typename Dots::Factor;
  constexpr int kTogether =
      kAccumulators / M > 4 ? 4 : (kAccumulators / M > 0 ? kAccumulators / M : 1);
  float* scores = scratch;
  const FactorRows<T> q = query_factors<M>(in, query, scratch + M * kPageKeys);
  const KeyRange* ranges = in.ranges + query;
  const int64_t width = padded_dim(in.value_dim);
  int64_t begin = kPageKeys, end = 0;
  for (int m = 0; m < M; ++m) {
    if (ranges[m].begin >= ranges[m].end) continue;
    begin = begin < ranges[m].begin ? begin : ranges[m].begin;
    end = end > ranges[m].end ? end : ranges[m].end;
  }
  begin -= begin % Dots::kStep;
  const int64_t first = begin / kKeyGroup, last = (end + kKeyGroup - 1) / kKeyGroup;
  int64_t g = first;
  for (; g + kTogether <= last; g += kTogether) score_groups<M, kTogether>(in, q, g, scores);
  for (; g < last; ++g) score_groups<M, 1>(in, q, g, scores);
  const FactorRows<T> weights = {reinterpret_cast<const Factor*>(scores),
                                 kPageKeys * static_cast<int64_t>(sizeof(float) / sizeof(Factor))};
  for (int m = 0; m < M; ++m) {
    float* own = scores + m * kPageKeys;
    if (ranges[m].begin < ranges[m].end) {
      parts[query + m] = softmax_part(in, ranges[m], first, last, own);
      continue;
    }
    parts[query + m] = {-__builtin_inff(), 0};
    auto* factors = reinterpret_cast<Factor*>(own);
    for (int64_t i = first * kKeyGroup; i < last * kKeyGroup; ++i) factors[i] = 0;
  }
  out += query * width;
  int64_t column = 0;
  for (; column + kTogether * kLanes <= width; column += kTogether * kLanes)
    weigh_values<M, kTogether>(in, begin, end, column, weights, out);
  for (; column < width; column += kLanes) weigh_values<M, 1>(in, begin, end, column, weights, out);
}

template <class T>
void attend_page(const PageInput<T>& in, float* scratch, AttentionPart* parts, float* out) {
  for (int64_t query = 0; query < in.queries; query += kMostQueries) {
    const int64_t rest = in.queries - query;
    with_constant<kMostQueries>(rest < kMostQueries ? rest : kMostQueries, [&](auto count) {
      attend_queries<count()>(in, query, scratch, parts, out);
    });
  }
}

inline void put_value(float* p, float x, float) { *p = x; }
inline void put_value(uint16_t* p, float x, float) { put(p, x); }
inline void put_value(int8_t* p, float x, float inverse) {
  *p = static_cast<int8_t>(__builtin_rintf(x * inverse));
}

// The scale of int8 values, the largest of which becomes ±127; 1 of the other types.
template <class T>
inline float value_scale(int64_t n, const float* x) {
  if constexpr (sizeof(T) != 1) return 1;
  float highest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float magnitude = __builtin_fabsf(x[i]);
    highest = magnitude > highest ? magnitude : highest;
  }
  return highest / 127.0f;
}

template <class T>
void write_token(const PageToken<T>& token) {
  const auto [key_dim, value_dim, at, key, value, keys, values, key_scales, value_scales] = token;
  const float key_scale = value_scale<T>(key_dim, key),
              own_scale = value_scale<T>(value_dim, value);
  const float key_inverse = key_scale > 0 ? 1 / key_scale : 0,
              inverse = own_scale > 0 ? 1 / own_scale : 0;
  constexpr int kStep = PageDots<T>::kStep;
  T* k = keys + at / kKeyGroup * key_width(key_dim) * kKeyGroup + at % kKeyGroup * kStep;
  for (int64_t d = 0; d < key_dim; ++d)
    put_value(k + d / kStep * kKeyGroup * kStep + d % kStep, key[d], key_inverse);
  T* v = values + at / kStep * kStep * padded_dim(value_dim) + at % kStep;
  for (int64_t d = 0; d < value_dim; ++d) put_value(v + d * kStep, value[d], inverse);
  if constexpr (sizeof(T) == 1) {
    key_scales[at] = key_scale;
    value_scales[at] = own_scale;
  }
}

void merge_part(int64_t dim, const AttentionPart& later, const float* later_out,
                AttentionPart& part, float* out) {
  if (later.total == 0) return;
  if (part.total == 0) {
    part = later;
    for (int64_t i = 0; i < dim; i += kLanes) store(out + i, load(later_out + i));
    return;
  }
  const float high = part.high > later.high ? part.high : later.high;
  const float a = exp(part.high - high), b = exp(later.high - high);
  part = {high, part.total * a + later.total * b};
  for (int64_t i = 0; i < dim; i += kLanes)
    store(out + i, load(out + i) * a + load(later_out + i) * b);
}

template <class T>
constexpr PageKernels<T> page_table() {
  return {attend_page<T>, write_token<T>};
}

}  // namespace
}  // namespace continuo
