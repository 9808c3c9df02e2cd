// The packed products of packed.h. Included by kernels_impl.cpp only, inside its anonymous namespace.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace continuo {
namespace {

using VecB = uint8_t __attribute__((vector_size(64)));

template <class V, class T>
inline V load_as(const T* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Sixteen halves, finite: shifting exponent and mantissa into place is off by the difference of the biases.
inline Vec load_half(const uint16_t* p) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
  const VecU h = __builtin_convertvector(load_as<VecH>(p), VecU);
  const VecU magnitude = (h & 0x7fffu) << 13, sign = (h & 0x8000u) << 16;
  Vec m;
  std::memcpy(&m, &magnitude, sizeof m);
  m = m * 0x1p112f;
  VecU bits;
  std::memcpy(&bits, &m, sizeof bits);
  bits |= sign;
  std::memcpy(&m, &bits, sizeof m);
  return m;
#endif
}

inline uint16_t to_half(float x) {
  const _Float16 h = static_cast<_Float16>(x);
  uint16_t bits;
  std::memcpy(&bits, &h, sizeof bits);
  return bits;
}
inline float from_half(uint16_t bits) {
  _Float16 h;
  std::memcpy(&h, &bits, sizeof h);
  return static_cast<float>(h);
}

// sum[i] + Σ_j w[4i + j] · x[j]: unsigned weights, four signed activations for every lane.
inline VecI dot4(VecI sum, VecB w, int32_t x) {
#if defined(__AVX512VNNI__)
  return (VecI)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, _mm512_set1_epi32(x));
#else
  VecI wide;
  std::memcpy(&wide, &w, sizeof wide);
  int8_t parts[4];
  std::memcpy(parts, &x, sizeof parts);
  for (int j = 0; j < 4; ++j) sum += ((wide >> (8 * j)) & 0xff) * parts[j];
  return sum;
#endif
}

// sum[i] + w[2i] · x[0] + w[2i + 1] · x[1], all bfloat16.
inline Vec dot2(Vec sum, VecU w, uint32_t x) {
#if defined(__AVX512BF16__)
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)_mm512_set1_epi32(static_cast<int>(x)));
#else
  const VecU low = w << 16, high = w & 0xffff0000u;
  Vec even, odd;
  std::memcpy(&even, &low, sizeof even);
  std::memcpy(&odd, &high, sizeof odd);
  sum += even * to_float(static_cast<uint16_t>(x & 0xffffu));
  sum += odd * to_float(static_cast<uint16_t>(x >> 16));
  return sum;
#endif
}

constexpr int kPanelVectors = static_cast<int>(kPanel) / kLanes;
static_assert(kPanelVectors == 2);

// Few rows read the weights faster than the hardware fetches them by itself; the two lines that are asked for lie behind the
// panel's end at times, which does no harm.
template <int M>
inline void prefetch_ahead(const void* w) {
  constexpr int64_t kAhead = 4096;
  if constexpr (M <= 2) {
    __builtin_prefetch(static_cast<const std::byte*>(w) + kAhead);
    __builtin_prefetch(static_cast<const std::byte*>(w) + kAhead + 64);
  }
}

template <int M>
void panel_f32(int64_t stride, const PackedInput& x, int64_t row, const std::byte* panel, float* y, int64_t stride_y) {
  Vec sum[M][2] = {};
  const auto* w = reinterpret_cast<const float*>(panel);
  const float* in = x.values + row * stride;
  for (int64_t k = 0; k < stride; ++k, w += kPanel) {
    prefetch_ahead<M>(w);
    const Vec w0 = load(w), w1 = load(w + kLanes);
    for (int m = 0; m < M; ++m) {
      const Vec v = splat(in[m * stride + k]);
      sum[m][0] += w0 * v;
      sum[m][1] += w1 * v;
    }
  }
  for (int m = 0; m < M; ++m) {
    store(y + m * stride_y, sum[m][0]);
    store(y + m * stride_y + kLanes, sum[m][1]);
  }
}

template <int M>
void panel_bf16(int64_t stride, const PackedInput& x, int64_t row, const std::byte* panel, float* y, int64_t stride_y) {
  Vec sum[M][2] = {};
  const auto* w = reinterpret_cast<const uint16_t*>(panel);
  const uint16_t* in = x.halves + row * stride;
  for (int64_t k = 0; k < stride; k += 2, w += 2 * kPanel) {
    prefetch_ahead<M>(w);
    const VecU w0 = load_as<VecU>(w), w1 = load_as<VecU>(w + 2 * kLanes);
    for (int m = 0; m < M; ++m) {
      uint32_t pair;
      std::memcpy(&pair, in + m * stride + k, sizeof pair);
      sum[m][0] = dot2(sum[m][0], w0, pair);
      sum[m][1] = dot2(sum[m][1], w1, pair);
    }
  }
  for (int m = 0; m < M; ++m) {
    store(y + m * stride_y, sum[m][0]);
    store(y + m * stride_y + kLanes, sum[m][1]);
  }
}

// Bits = 8 or 4. The offset that makes weights unsigned is taken back through the sum of the activations.
template <int M, int Bits>
void panel_quantised(int64_t stride, const PackedInput& x, int64_t row, const std::byte* panel, float* y,
                     int64_t stride_y) {
  constexpr int kGroups = 8;  // of four values of k
  constexpr int kOffset = Bits == 8 ? 128 : 8;
  constexpr int64_t kWeights = kQuantBlock * kPanel * Bits / 8;
  Vec sum[M][2] = {};
  const auto* w = reinterpret_cast<const uint8_t*>(panel);
  const int64_t blocks = stride / kQuantBlock;
  const int8_t* in = x.integers + row * stride;
  const float* scales = x.scales + row * blocks;
  const int32_t* offsets = x.offsets + row * blocks;
  for (int64_t b = 0; b < blocks; ++b, w += kWeights + 2 * kPanel) {
    VecI part[M][2];
    for (int m = 0; m < M; ++m) part[m][0] = part[m][1] = VecI{} - kOffset * offsets[m * blocks + b];
    const auto group = [&](int g, VecB w0, VecB w1) {
      if (Bits == 8 || g < kGroups / 2) prefetch_ahead<M>(w + 128 * g);
      for (int m = 0; m < M; ++m) {
        int32_t four;
        std::memcpy(&four, in + m * stride + b * kQuantBlock + 4 * g, sizeof four);
        part[m][0] = dot4(part[m][0], w0, four);
        part[m][1] = dot4(part[m][1], w1, four);
      }
    };
    if constexpr (Bits == 8) {
      for (int g = 0; g < kGroups; ++g) group(g, load_as<VecB>(w + 128 * g), load_as<VecB>(w + 128 * g + 64));
    } else {
      for (int g = 0; g < kGroups / 2; ++g) {
        const VecB w0 = load_as<VecB>(w + 128 * g), w1 = load_as<VecB>(w + 128 * g + 64);
        group(g, w0 & 15, w1 & 15);
        group(g + kGroups / 2, w0 >> 4, w1 >> 4);
      }
    }
    const auto* half = reinterpret_cast<const uint16_t*>(w + kWeights);
    const Vec s0 = load_half(half), s1 = load_half(half + kLanes);
    for (int m = 0; m < M; ++m) {
      const float s = scales[m * blocks + b];
      sum[m][0] += __builtin_convertvector(part[m][0], Vec) * (s0 * s);
      sum[m][1] += __builtin_convertvector(part[m][1], Vec) * (s1 * s);
    }
  }
  for (int m = 0; m < M; ++m) {
    store(y + m * stride_y, sum[m][0]);
    store(y + m * stride_y + kLanes, sum[m][1]);
  }
}

using PanelFunction = void (*)(int64_t, const PackedInput&, int64_t, const std::byte*, float*, int64_t);

// For 1 … kPanelRows rows at once: as many as the registers hold.
constexpr int kPanelRows = 6;
constexpr PanelFunction kPanelFunctions[4][kPanelRows] = {
    {panel_f32<1>, panel_f32<2>, panel_f32<3>, panel_f32<4>, panel_f32<5>, panel_f32<6>},
    {panel_bf16<1>, panel_bf16<2>, panel_bf16<3>, panel_bf16<4>, panel_bf16<5>, panel_bf16<6>},
    {panel_quantised<1, 8>, panel_quantised<2, 8>, panel_quantised<3, 8>, panel_quantised<4, 8>,
     panel_quantised<5, 8>, panel_quantised<6, 8>},
    {panel_quantised<1, 4>, panel_quantised<2, 4>, panel_quantised<3, 4>, panel_quantised<4, 4>,
     panel_quantised<5, 4>, panel_quantised<6, 4>}};

void packed_product(WeightFormat format, int64_t rows, int64_t in, int64_t begin, int64_t end, const PackedInput& x,
                    const std::byte* data, float* y, int64_t stride_y) {
  const int64_t stride = packed_inputs(in), bytes = panel_bytes(format, in);
  const PanelFunction* functions = kPanelFunctions[static_cast<int>(format)];
  for (int64_t p = begin; p < end; ++p) {
    for (int64_t m = 0; m < rows; m += kPanelRows) {
      const int64_t count = rows - m < kPanelRows ? rows - m : kPanelRows;
      functions[count - 1](stride, x, m, data + p * bytes, y + m * stride_y + p * kPanel, stride_y);
    }
  }
}

// The scale of 32 weights. 8 bits: the largest reaches ±127. 4 bits: the best of a few, by the squared error that is left,
// weighted by the squares of the weights: large ones carry more of the result.
template <int Bits>
float block_scale(const float* w) {
  float extreme = 0;
  for (int64_t i = 0; i < kQuantBlock; ++i) extreme = __builtin_fabsf(w[i]) > __builtin_fabsf(extreme) ? w[i] : extreme;
  if (extreme == 0.0f) return 0.0f;
  if constexpr (Bits == 8) return __builtin_fabsf(extreme) / 127.0f;
  float best = 0, best_gain = -1;
  for (int step = -6; step <= 6; ++step) {
    const float inverse = (-8.0f + 0.25f * static_cast<float>(step)) / extreme;
    Vec weighted{}, squares{};
    for (int64_t i = 0; i < kQuantBlock; i += kLanes) {
      const Vec x = load(w + i);
      const Vec bounded = min(max(x * inverse, splat(-8.0f)), splat(7.0f));
      const Vec q = (bounded + 12582912.0f) - 12582912.0f;  // rounds: 1.5 · 2^23
      weighted += x * x * x * q;
      squares += x * x * q * q;
    }
    const float wq = sum(weighted), qq = sum(squares);
    if (qq > 0 && wq * wq > best_gain * qq) {
      best_gain = wq * wq / qq;
      best = wq / qq;
    }
  }
  return best;
}

template <int Bits>
void pack_quantised(int64_t in, const float* const* rows, std::byte* panel) {
  constexpr int kLow = Bits == 8 ? -127 : -8, kHigh = Bits == 8 ? 127 : 7, kOffset = Bits == 8 ? 128 : 8;
  constexpr int64_t kWeights = kQuantBlock * kPanel * Bits / 8;
  auto* out = reinterpret_cast<uint8_t*>(panel);
  for (int64_t b = 0; b < packed_inputs(in) / kQuantBlock; ++b, out += kWeights + 2 * kPanel) {
    std::memset(out, 0, kWeights);
    for (int64_t r = 0; r < kPanel; ++r) {
      float w[kQuantBlock] = {};
      const int64_t count = in - b * kQuantBlock < kQuantBlock ? in - b * kQuantBlock : kQuantBlock;
      if (rows[r]) std::memcpy(w, rows[r] + b * kQuantBlock, count * sizeof(float));
      const uint16_t half = to_half(block_scale<Bits>(w));
      std::memcpy(out + kWeights + 2 * r, &half, sizeof half);
      const float scale = from_half(half), inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
      for (int64_t i = 0; i < kQuantBlock; ++i) {
        const float rounded = __builtin_rintf(w[i] * inverse);
        const int q = static_cast<int>(rounded < kLow ? kLow : rounded > kHigh ? kHigh : rounded) + kOffset;
        if constexpr (Bits == 8) {
          out[(i / 4 * kPanel + r) * 4 + i % 4] = static_cast<uint8_t>(q);
        } else {
          const int64_t j = i % 16;
          out[(j / 4 * kPanel + r) * 4 + j % 4] |= static_cast<uint8_t>(i < 16 ? q : q << 4);
        }
      }
    }
  }
}

void packed_pack(WeightFormat format, int64_t in, const float* const* rows, std::byte* panel) {
  if (format == WeightFormat::q8) return pack_quantised<8>(in, rows, panel);
  if (format == WeightFormat::q4) return pack_quantised<4>(in, rows, panel);
  std::memset(panel, 0, panel_bytes(format, in));
  auto* floats = reinterpret_cast<float*>(panel);
  auto* halves = reinterpret_cast<uint16_t*>(panel);
  // Few columns at a time: the rows' reads and the panel's writes then both stay in the first cache.
  constexpr int64_t kColumns = 16;
  for (int64_t begin = 0; begin < in; begin += kColumns) {
    const int64_t end = begin + kColumns < in ? begin + kColumns : in;
    for (int64_t r = 0; r < kPanel; ++r) {
      const float* w = rows[r];
      if (!w) continue;
      if (format == WeightFormat::f32) {
        for (int64_t k = begin; k < end; ++k) floats[k * kPanel + r] = w[k];
      } else {
        for (int64_t k = begin; k < end; ++k) put(halves + (k / 2 * kPanel + r) * 2 + k % 2, w[k]);
      }
    }
  }
}

void packed_unpack(WeightFormat format, int64_t in, const std::byte* panel, int64_t r, float* values) {
  const auto* floats = reinterpret_cast<const float*>(panel);
  const auto* halves = reinterpret_cast<const uint16_t*>(panel);
  const auto* bytes = reinterpret_cast<const uint8_t*>(panel);
  const int bits = format == WeightFormat::q8 ? 8 : 4;
  const int64_t weights = kQuantBlock * kPanel * bits / 8;
  for (int64_t k = 0; k < in; ++k) {
    if (format == WeightFormat::f32) {
      values[k] = floats[k * kPanel + r];
    } else if (format == WeightFormat::bf16) {
      values[k] = to_float(halves[(k / 2 * kPanel + r) * 2 + k % 2]);
    } else {
      const uint8_t* block = bytes + k / kQuantBlock * (weights + 2 * kPanel);
      uint16_t half;
      std::memcpy(&half, block + weights + 2 * r, sizeof half);
      const int64_t i = k % kQuantBlock, j = bits == 8 ? i : i % 16;
      int q = block[(j / 4 * kPanel + r) * 4 + j % 4];
      if (bits == 4) q = i < 16 ? q & 15 : q >> 4;
      values[k] = static_cast<float>(q - (bits == 8 ? 128 : 8)) * from_half(half);
    }
  }
}

void packed_round(int64_t n, const float* x, uint16_t* halves) {
  for (int64_t i = 0; i < n; i += kLanes) store(halves + i, load(x + i));
}

void packed_quantise(int64_t n, const float* x, int8_t* integers, float* scales, int32_t* offsets) {
  for (int64_t b = 0; b < n / kQuantBlock; ++b, x += kQuantBlock, integers += kQuantBlock) {
    const Vec x0 = load(x), x1 = load(x + kLanes);
    const float largest = max(max(max(x0, -x0), max(x1, -x1)));
    const float scale = largest / 127.0f, inverse = largest > 0 ? 127.0f / largest : 0.0f;
    scales[b] = scale;
    // Adding 1.5 · 2^23 rounds to an integer, which then is the low bits.
    const Vec r0 = x0 * inverse + 12582912.0f, r1 = x1 * inverse + 12582912.0f;
    VecI i0, i1;
    std::memcpy(&i0, &r0, sizeof i0);
    std::memcpy(&i1, &r1, sizeof i1);
    i0 -= 0x4b400000;
    i1 -= 0x4b400000;
    int32_t total = 0;
    const VecI both = i0 + i1;
    for (int l = 0; l < kLanes; ++l) total += both[l];
    offsets[b] = total;
    using VecS = int8_t __attribute__((vector_size(16)));
    const VecS s0 = __builtin_convertvector(i0, VecS), s1 = __builtin_convertvector(i1, VecS);
    std::memcpy(integers, &s0, sizeof s0);
    std::memcpy(integers + kLanes, &s1, sizeof s1);
  }
}

// Σ lanes of sixteen vectors at once, lane i of the result from the i-th: folding pairs keeps all lanes busy.
inline Vec sums_of_sixteen(const Vec* v) {
  Vec a[8];
  for (int i = 0; i < 8; ++i) {
    a[i] = __builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
  for (int i = 0; i < 4; ++i) {
    a[i] = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
           __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
  }
  for (int i = 0; i < 2; ++i) {
    a[i] = __builtin_shufflevector(a[i], a[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
           __builtin_shufflevector(a[i], a[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  }
  return __builtin_shufflevector(a[0], a[1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
         __builtin_shufflevector(a[0], a[1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
}

template <class T>
void attend(int64_t group, int64_t dim, int64_t length, const float* q, const T* keys, const T* values, float scale,
            float* scores, AttentionPart* parts, float* out) {
  const int64_t vectors = dim / kLanes;
  for (int64_t g = 0; g < group; ++g, q += dim, out += dim) {
    Vec highs = splat(-__builtin_inff());
    for (int64_t t = 0; t < length; t += kLanes) {
      const int64_t count = length - t < kLanes ? length - t : kLanes;
      Vec dots[kLanes] = {};
      for (int64_t j = 0; j < count; ++j) {
        const T* k = keys + (t + j) * dim;
        Vec dot{};
        for (int64_t i = 0; i < vectors; ++i) dot += load(q + i * kLanes) * load(k + i * kLanes);
        dots[j] = dot;
      }
      Vec s = sums_of_sixteen(dots) * scale;
      for (int64_t j = count; j < kLanes; ++j) s[j] = -__builtin_inff();
      store(scores + t, s);
      highs = max(highs, s);
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
void narrow(int64_t n, const float* x, T* y) {
  for_lanes(
      n, [&](int64_t i) { store(y + i, load(x + i)); }, [&](int64_t i) { put(y + i, x[i]); });
}

constexpr PackedKernels kPackedKernels = {packed_pack, packed_unpack, packed_product, packed_round, packed_quantise,
                                          attend<float>, attend<uint16_t>, narrow<float>, narrow<uint16_t>};

}  // namespace
}  // namespace continuo
