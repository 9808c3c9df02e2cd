// Packing of plain panels (packed.h). Included by packed_impl.h only.
#pragma once

#include "nn/cpu/kernels/packed_stored_impl.h"
#include "nn/cpu/kernels/tile_impl.h"

namespace continuo {
namespace {

// A block of 32 values of k of the outputs of a panel, side by side for each value.
struct WeightBlock {
  alignas(64) float at[kQuantBlock][kPanel];

  Vec row(int64_t k, int64_t n) const { return load(&at[k][n * kLanes]); }
};

// Values beyond `in` and of outputs without a row are zero.
WeightBlock gather_block(int64_t in, const float* const* rows, int64_t first) {
  WeightBlock block;
  const int64_t count = in - first < kQuantBlock ? in - first : kQuantBlock;
  for (int64_t r = 0; r < kPanel; r += kLanes) {
    for (int64_t k = 0; k < kQuantBlock; k += kLanes) {
      VecU tile[kLanes];
      for (int64_t i = 0; i < kLanes; ++i) {
        const float* const row = rows[r + i];
        if (row && count - k >= kLanes) {
          tile[i] = load_as<VecU>(row + first + k);
          continue;
        }
        float values[kLanes] = {};
        if (row && count > k) std::memcpy(values, row + first + k, (count - k) * sizeof(float));
        tile[i] = load_as<VecU>(values);
      }
      transpose(tile);
      for (int64_t i = 0; i < kLanes; ++i) store_as(&block.at[k + i][r], tile[i]);
    }
  }
  return block;
}

// Rounds to whole numbers within ±2^21 by adding 1.5 · 2^23, then bounds them.
inline Vec whole(Vec x, float least, float most) {
  return min(max((x + 12582912.0f) - 12582912.0f, splat(least)), splat(most));
}

// A weight is code · scale + minimum, of the outputs 16 · n and up of a block.
struct BlockFit {
  Vec scale{}, minimum{};

  // What a half holds of them.
  BlockFit rounded() const {
    BlockFit fit;
    for (auto [from, to] : {std::pair{&scale, &fit.scale}, {&minimum, &fit.minimum}}) {
      float values[kLanes];
      store(values, *from);
      for (float& x : values) x = from_half(to_half(x));
      *to = load(values);
    }
    return fit;
  }
  Vec code(Vec x, Vec inverse, float least, float most) const {
    return whole((x - minimum) * inverse, least, most);
  }
  Vec inverse() const {
    const auto any = scale != splat(0.0f);
    return select(any, splat(1.0f) / select(any, scale, splat(1.0f)), Vec{});
  }
};

// The largest reaches ±127.
BlockFit fit_eight_bits(const WeightBlock& block, int64_t n) {
  Vec largest{};
  for (int64_t k = 0; k < kQuantBlock; ++k) {
    const Vec x = block.row(k, n);
    largest = max(largest, max(x, -x));
  }
  return BlockFit{.scale = largest / 127.0f}.rounded();
}

// What a choice of codes leaves of a block's squares, in sums.
struct LineSums {
  Vec c{}, cc{}, x{}, cx{};

  void add(Vec code, Vec weight) {
    c += code;
    cc += code * code;
    x += weight;
    cx += code * weight;
  }
  // The line of least squares through (code, weight).
  BlockFit line() const {
    constexpr float kCount = kQuantBlock;
    const Vec determinant = kCount * cc - c * c;
    const auto sloped = determinant > splat(0.0f);
    const Vec inverse = splat(1.0f) / select(sloped, determinant, splat(1.0f));
    return {select(sloped, (kCount * cx - x * c) * inverse, Vec{}),
            select(sloped, (cc * x - c * cx) * inverse, x / kCount)};
  }
  // What a line takes off the sum of squares.
  Vec gain(const BlockFit& fit) const { return fit.scale * cx + fit.minimum * x; }
};

// The best of a few ways to spread the codes: over all of the block, or with either end moved in or
// out by 3 % of it; then twice what the best one's line says. Of normal weights that leaves 14 %
// less than the whole range does, and 2 % more than ways without number. The codes of weights that
// lie on such a grid already are found as they are.
BlockFit fit_four_bits(const WeightBlock& block, int64_t n) {
  constexpr float kMost = 15.0f;
  Vec least = block.row(0, n), most = least;
  for (int64_t k = 0; k < kQuantBlock; ++k) {
    least = min(least, block.row(k, n));
    most = max(most, block.row(k, n));
  }
  const auto any = most > least;
  const Vec range = select(any, most - least, splat(1.0f));
  BlockFit best{Vec{}, least};
  Vec best_gain = splat(-1.0f);
  const auto consider = [&](const BlockFit& spread, Vec inverse) {
    LineSums sums;
    for (int64_t k = 0; k < kQuantBlock; ++k)
      sums.add(spread.code(block.row(k, n), inverse, 0.0f, kMost), block.row(k, n));
    const BlockFit line = sums.line();
    const Vec gain = sums.gain(line);
    const auto better = gain > best_gain;
    best_gain = select(better, gain, best_gain);
    best = {select(better, line.scale, best.scale), select(better, line.minimum, best.minimum)};
  };
  constexpr float kMoves[] = {0.0f, -0.03f, 0.03f};
  for (const float low : kMoves) {
    for (const float high : kMoves)
      consider({Vec{}, least + range * low}, splat(kMost / (1.0f - low - high)) / range);
  }
  for (int round = 0; round < 2; ++round) {
    const BlockFit spread = best;
    consider(spread, spread.inverse());
  }
  return BlockFit{select(any, best.scale, Vec{}), select(any, best.minimum, least)}.rounded();
}

template <int Bits>
void pack_quantised(int64_t in, const float* const* rows, std::byte* panel) {
  constexpr int64_t kCodes = kQuantBlock * kPanel * Bits / 8;
  constexpr int kGroups = Bits;  // of four values of k in a byte each
  auto* out = reinterpret_cast<uint8_t*>(panel);
  for (int64_t b = 0; b < packed_inputs(in) / kQuantBlock; ++b, out += quantised_bytes(Bits)) {
    const WeightBlock block = gather_block(in, rows, b * kQuantBlock);
    auto* halves = reinterpret_cast<uint16_t*>(out + kCodes);
    for (int64_t n = 0; n < 2; ++n) {
      const BlockFit fit = Bits == 8 ? fit_eight_bits(block, n) : fit_four_bits(block, n);
      const Vec inverse = fit.inverse();
      const auto code = [&](int64_t k) {
        const Vec x = block.row(k, n);
        const Vec q = Bits == 8 ? fit.code(x, inverse, -127.0f, 127.0f) + 128.0f
                                : fit.code(x, inverse, 0.0f, 15.0f);
        return bits_as<VecU>(convert<VecI>(q));
      };
      for (int64_t g = 0; g < kGroups; ++g) {
        VecU word{};
        for (int t = 0; t < 4; ++t) {
          VecU byte = code(4 * g + t);
          if constexpr (Bits == 4) byte = byte | code(16 + 4 * g + t) << 4;
          word = word | byte << (8 * t);
        }
        store_as(out + (g * kPanel + n * kLanes) * 4, word);
      }
      float scales[kLanes], minima[kLanes];
      store(scales, fit.scale);
      store(minima, fit.minimum);
      for (int64_t r = 0; r < kLanes; ++r) {
        halves[n * kLanes + r] = to_half(scales[r]);
        if constexpr (Bits == 4) halves[kPanel + n * kLanes + r] = to_half(minima[r]);
      }
    }
  }
}

// Halves of the even values in the lower, of the odd ones in the upper half of a lane.
VecU bfloat16_pairs(const float* even, const float* odd) {
  uint16_t halves[2][kLanes];
  store(halves[0], load(even));
  store(halves[1], load(odd));
  return load_wide(halves[0]) | load_wide(halves[1]) << 16;
}

void packed_pack(PanelFormat format, int64_t in, const float* const* rows, std::byte* panel) {
  if (format == PanelFormat::q8) return pack_quantised<8>(in, rows, panel);
  if (format == PanelFormat::q4) return pack_quantised<4>(in, rows, panel);
  auto* out = reinterpret_cast<uint8_t*>(panel);
  for (int64_t first = 0; first < packed_inputs(in); first += kQuantBlock) {
    const WeightBlock block = gather_block(in, rows, first);
    if (format == PanelFormat::f32) {
      std::memcpy(out, block.at, sizeof block.at);
      out += sizeof block.at;
      continue;
    }
    for (int64_t k = 0; k < kQuantBlock; k += 2) {
      for (int64_t n = 0; n < kPanel; n += kLanes, out += kLanes * 4)
        store_as(out, bfloat16_pairs(&block.at[k][n], &block.at[k + 1][n]));
    }
  }
}

}  // namespace
}  // namespace continuo
