// The decode engine's attention over a run of keys (packed.h). Included by packed_impl.h only.
#pragma once

namespace continuo {
namespace {

// Σ lanes of sixteen vectors at once, lane i of the result from the i-th: folding pairs keeps all
// lanes busy.
inline Vec sums_of_sixteen(const Vec* v) {
  Vec a[8];
  for (int i = 0; i < 8; ++i) a[i] = lower<8>(v[i], v[i + 8]) + upper<8>(v[i], v[i + 8]);
  for (int i = 0; i < 4; ++i) a[i] = lower<4>(a[i], a[i + 4]) + upper<4>(a[i], a[i + 4]);
  for (int i = 0; i < 2; ++i) a[i] = lower<2>(a[i], a[i + 2]) + upper<2>(a[i], a[i + 2]);
  return lower<1>(a[0], a[1]) + upper<1>(a[0], a[1]);
}

// Vectors: of a head, 0 where the compiler does not know them.
template <class T, int Vectors>
void attend_of(int64_t group, int64_t dim, int64_t length, const float* q, const T* keys,
               const T* values, float scale, float* scores, AttentionPart* parts, float* out) {
  const int64_t vectors = Vectors > 0 ? Vectors : dim / kLanes;
  for (int64_t g = 0; g < group; ++g, q += dim, out += dim) {
    Vec query[Vectors > 0 ? Vectors : 1];
    if constexpr (Vectors > 0) {
      for (int i = 0; i < Vectors; ++i) query[i] = load(q + i * kLanes);
    }
    Vec highs = splat(-__builtin_inff());
    for (int64_t t = 0; t < length; t += kLanes) {
      const int64_t count = length - t < kLanes ? length - t : kLanes;
      Vec dots[kLanes] = {};
      for (int64_t j = 0; j < count; ++j) {
        const T* k = keys + (t + j) * dim;
        Vec dot{};
        if constexpr (Vectors > 0) {
          for (int i = 0; i < Vectors; ++i) dot += query[i] * load(k + i * kLanes);
        } else {
          for (int64_t i = 0; i < vectors; ++i) dot += load(q + i * kLanes) * load(k + i * kLanes);
        }
        dots[j] = dot;
      }
      store(scores + t, sums_of_sixteen(dots) * scale);
      for (int64_t j = count; j < kLanes; ++j) scores[t + j] = -__builtin_inff();
      highs = max(highs, load(scores + t));
    }
    const float high = max(highs);
    Vec totals{};
    for (int64_t t = 0; t < length; t += kLanes) {
      const Vec e = exp(load(scores + t) - high);
      store(scores + t, e);
      totals += e;
    }
    parts[g] = {high, sum(totals)};
    constexpr int64_t kTogether = 4;
    for (int64_t i = 0; i < vectors; i += kTogether) {
      const int64_t count = vectors - i < kTogether ? vectors - i : kTogether;
      Vec acc[kTogether] = {};
      if (count == kTogether) {
        for (int64_t t = 0; t < length; ++t) {
          const T* v = values + t * dim + i * kLanes;
          const Vec s = splat(scores[t]);
          for (int64_t c = 0; c < kTogether; ++c) acc[c] += load(v + c * kLanes) * s;
        }
      } else {
        for (int64_t t = 0; t < length; ++t) {
          const T* v = values + t * dim + i * kLanes;
          for (int64_t c = 0; c < count; ++c) acc[c] += load(v + c * kLanes) * scores[t];
        }
      }
      for (int64_t c = 0; c < count; ++c) store(out + (i + c) * kLanes, acc[c]);
    }
  }
}

template <class T>
void attend(int64_t group, int64_t dim, int64_t length, const float* q, const T* keys,
            const T* values, float scale, float* scores, AttentionPart* parts, float* out) {
  const auto run = dim == 4 * kLanes   ? attend_of<T, 4>
                   : dim == 8 * kLanes ? attend_of<T, 8>
                                       : attend_of<T, 0>;
  run(group, dim, length, q, keys, values, scale, scores, parts, out);
}

}  // namespace
}  // namespace continuo
