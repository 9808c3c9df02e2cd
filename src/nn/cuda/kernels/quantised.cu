#include "nn/cuda/kernels/device.cuh"
#include "nn/cuda/kernels/entries.h"
#include "nn/panel_layout.h"

namespace continuo::cuda {

namespace {

constexpr int kWarps = 8;  // of a block
constexpr int kFour = 4;   // values of k that a lane reads at once

__device__ inline float half_at(const uint8_t* from) {
  const uint32_t bits = *reinterpret_cast<const uint16_t*>(from);
  // Exponent and mantissa in place are off by the difference of the biases.
  const float magnitude = __uint_as_float((bits & 0x7FFF) << 13) * 0x1p112f;
  return bits & 0x8000 ? -magnitude : magnitude;
}

// The 32 weights of a block that belong to a lane's row of the panel, four at a time.
template <int kBits>
struct LaneBlock {
  static constexpr int64_t kCodes = quantised_code_bytes(kBits);
  static constexpr int64_t kBytes = quantised_bytes(kBits);

  __device__ LaneBlock(const uint8_t* from, int lane)
      : codes(reinterpret_cast<const uint32_t*>(from) + lane),
        scale(half_at(from + kCodes + 2 * lane)),
        added(kBits == 8 ? 0 : half_at(from + kCodes + 2 * kPanel + 2 * lane)) {}

  // Of k = 4 · group … + 3.
  __device__ void read(int group, float (&weights)[kFour]) const {
    constexpr int kGroups = kBits;  // of four that lie one behind the other
    constexpr float kZero = kBits == 8 ? 128 : 0;
    const uint32_t four = codes[group % kGroups * kPanel] >> (group / kGroups * 4);
    for (int i = 0; i < kFour; ++i) {
      const uint32_t code = four >> (8 * i) & ((1 << kBits) - 1);
      weights[i] = (static_cast<float>(code) - kZero) * scale + added;
    }
  }

  const uint32_t* codes;
  float scale, added;
};

// The values [k, k + 4) of a row of `in`, zeros beyond.
template <bool kWhole, class T>
__device__ inline void read_four(const T* row, int64_t k, int64_t in, float (&x)[kFour]) {
  if (kWhole) {
    load(row + k, x);
  } else {
    for (int i = 0; i < kFour; ++i) x[i] = k + i < in ? widened(row[k + i]) : 0;
  }
}

// A block has a panel, its warps share the panel's blocks: a lane adds up what its row gives with
// up to kRows rows of x. Reading is what takes time, 128 bytes of codes at once.
template <int kBits, int kRows, bool kWhole, class T>
__global__ void quantised_product_kernel(QuantisedProduct a, int64_t blocks) {
  __shared__ float room[kWarps][kRows][kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp,
            warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t panel = blockIdx.x;
  const uint8_t* from = a.panels + panel * blocks * LaneBlock<kBits>::kBytes;
  const T* x = static_cast<const T*>(a.x);
  float sums[kRows] = {};
  for (int64_t b = warp; b < blocks; b += kWarps) {
    const LaneBlock<kBits> block(from + b * LaneBlock<kBits>::kBytes, lane);
    for (int g = 0; g < kQuantBlock / kFour; ++g) {
      const int64_t k = b * kQuantBlock + kFour * g;
      if (!kWhole && k >= a.in) break;
      float weights[kFour];
      block.read(g, weights);
      for (int r = 0; r < kRows; ++r) {
        if (r >= a.rows) break;
        float values[kFour];
        read_four<kWhole>(x + r * a.in, k, a.in, values);
        for (int i = 0; i < kFour; ++i) sums[r] += weights[i] * values[i];
      }
    }
  }
  for (int r = 0; r < kRows; ++r) room[warp][r][lane] = sums[r];
  __syncthreads();
  const int64_t n = panel * kPanel + lane;
  for (int r = warp; r < kRows; r += kWarps) {
    if (r >= a.rows || n >= a.out) continue;
    float sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += room[w][r][lane];
    narrow_to(static_cast<T*>(a.y)[r * a.out + n], sum);
  }
}

// A warp has a block of a panel.
template <int kBits, bool kWhole, class T>
__global__ void quantised_values_kernel(QuantisedValues a, int64_t blocks) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t index = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp, b = index % blocks,
                n = index / blocks * kPanel + lane;
  if (n >= a.out) return;
  const LaneBlock<kBits> block(a.panels + index * LaneBlock<kBits>::kBytes, lane);
  T* row = static_cast<T*>(a.values) + n * a.in;
  for (int g = 0; g < kQuantBlock / kFour; ++g) {
    const int64_t k = b * kQuantBlock + kFour * g;
    float weights[kFour];
    block.read(g, weights);
    if (kWhole) {
      store(row + k, weights);
    } else {
      for (int i = 0; i < kFour && k + i < a.in; ++i) narrow_to(row[k + i], weights[i]);
    }
  }
}

// Calls f with bits, and whether rows of `in` values are read by four, as numbers of the compiler.
template <class F>
void with_form(int bits, bool whole, const F& f) {
  const auto with_bits = [&](auto count) { whole ? f(count, Count<1>{}) : f(count, Count<0>{}); };
  if (bits == 8) {
    with_bits(Count<8>{});
  } else {
    with_bits(Count<4>{});
  }
}

template <class F>
void with_rows(int64_t rows, const F& f) {
  if (rows <= 1) return f(Count<1>{});
  if (rows <= 2) return f(Count<2>{});
  if (rows <= 4) return f(Count<4>{});
  f(Count<8>{});
}

int64_t blocks_of(int64_t in) { return packed_inputs(in) / kQuantBlock; }
bool whole_blocks(int64_t in, const void* values) {
  return in % kQuantBlock == 0 && by_four(in, {values});
}

}  // namespace

const char* start_quantised_product(const QuantisedProduct& a, Stream stream) {
  if (a.rows == 0 || a.out == 0) return nullptr;
  with_type(a.type, [&](auto type) {
    with_form(a.bits, whole_blocks(a.in, a.x), [&](auto bits, auto whole) {
      with_rows(a.rows, [&](auto rows) {
        launch(quantised_product_kernel < bits.value, rows.value, whole.value == 1, decltype(type) >
               , blocks_for(a.out, kPanel), kWarps * kWarp, stream, a, blocks_of(a.in));
      });
    });
  });
  return launch_error();
}

const char* start_quantised_values(const QuantisedValues& a, Stream stream) {
  if (a.out == 0) return nullptr;
  const int64_t all = blocks_of(a.in) * blocks_for(a.out, kPanel);
  with_type(a.type, [&](auto type) {
    with_form(a.bits, whole_blocks(a.in, a.values), [&](auto bits, auto whole) {
      launch(quantised_values_kernel < bits.value, whole.value == 1, decltype(type) >,
             blocks_for(all, kWarps), kWarps * kWarp, stream, a, blocks_of(a.in));
    });
  });
  return launch_error();
}

}  // namespace continuo::cuda
