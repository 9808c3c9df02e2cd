#include "io/line_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "io/block_formats.h"

namespace continuo {
namespace {

constexpr int kCount = kLineValues, kHalf = kCount / 2;
constexpr float kShift = 12582912.0F;

float inverse_scale(const CodeLine& line) {
  const float inverse = line.scale == 0 ? 0.0F : 1.0F / line.scale;
  return std::isfinite(inverse) ? inverse : 0.0F;
}

// The code whose value on a line is nearest. Adding 1.5 · 2²³ rounds to an integer.
float nearest_code(float value, float minimum, float inverse, float least, float most) {
  return (std::clamp((value - minimum) * inverse, least, most) + kShift) - kShift;
}

struct ExactLine {
  double scale = 0, minimum = 0;
};

// Sums over the values of a line that say what a choice of codes is worth. In double: one weight
// may be millions of times the others, and their differences still say where those lie.
struct LineSums {
  double w = 0, c = 0, cc = 0, x = 0, cx = 0;

  void add(double weight, double code, double value) {
    const double weighted = weight * code;
    w += weight;
    c += weighted;
    cc += weighted * code;
    x += weight * value;
    cx += weighted * value;
  }
  // The line of least squares.
  ExactLine line() const {
    const double determinant = w * cc - c * c;
    if (!(determinant > 0)) return {0, w > 0 ? x / w : 0};
    return {(w * cx - c * x) / determinant, (cc * x - c * cx) / determinant};
  }
  // The same with the minimum zero.
  ExactLine through_zero() const { return {cc > 0 ? cx / cc : 0, 0}; }
  // What a line of least squares takes off the sum of squares.
  double gain(const ExactLine& line) const { return line.scale * cx + line.minimum * x; }
};

LineSums sums_of(const float* values, const float* weights, float inverse, float minimum,
                 float least, float most) {
  LineSums sums;
  for (int i = 0; i < kCount; ++i) {
    sums.add(weights[i], nearest_code(values[i], minimum, inverse, least, most), values[i]);
  }
  return sums;
}

// The best line so far.
struct Search {
  ExactLine best;
  double gain = -1;

  void consider(const ExactLine& line, double gained) {
    if (!(gained > gain)) return;
    gain = gained;
    best = line;
  }
};

float as_half(double value) { return half_to_float(float_to_half(static_cast<float>(value))); }

// Tries spreads of the codes over the whole range and with either end moved by 3 % of it, then
// twice what the best one's line says: the search of packed weights (packed_pack_impl.h).
CodeLine fit_with_minimum(const float* values, const float* weights, float most) {
  const auto [low, high] = std::minmax_element(values, values + kCount);
  const float least = *low, range = *high - *low;
  if (!(range > 0) || !std::isfinite(most / range)) return {0, as_half(least)};
  Search search;
  const auto consider = [&](float minimum, float inverse) {
    const LineSums sums = sums_of(values, weights, inverse, minimum, 0, most);
    search.consider(sums.line(), sums.gain(sums.line()));
  };
  for (const float below : {0.0F, -0.03F, 0.03F}) {
    for (const float above : {0.0F, -0.03F, 0.03F})
      consider(least + range * below, most / (1 - below - above) / range);
  }
  for (int round = 0; round < 2; ++round) {
    const CodeLine line = {static_cast<float>(search.best.scale),
                           static_cast<float>(search.best.minimum)};
    consider(line.minimum, inverse_scale(line));
  }
  return {as_half(search.best.scale), as_half(search.best.minimum)};
}

// Codes −half … half − 1. The value of largest size gets the end that there is one more of, or ends
// up to a tenth of the codes beyond or before it.
CodeLine fit_signed(const float* values, const float* weights, float half) {
  const float extreme = *std::max_element(
      values, values + kCount, [](float a, float b) { return std::abs(a) < std::abs(b); });
  if (extreme == 0 || !std::isfinite(2 * half / extreme)) return {};
  Search search;
  for (int step = -9; step <= 9; ++step) {
    const float ends = half * (1 + static_cast<float>(step) * 0.0125F);
    const LineSums sums = sums_of(values, weights, -ends / extreme, 0, -half, half - 1);
    search.consider(sums.through_zero(), sums.gain(sums.through_zero()));
  }
  return {as_half(search.best.scale), 0};
}

// No code is out of reach, so every value is within half a step.
CodeLine fit_eight_bits(const float* values) {
  float largest = 0;
  for (int i = 0; i < kCount; ++i) largest = std::max(largest, std::abs(values[i]));
  return {as_half(largest / 127), 0};
}

template <int kCodes, bool kMinimum>
void fit_line(const float* values, const float* weights, uint8_t* block, CodeLine* line) {
  *line = kMinimum        ? fit_with_minimum(values, weights, kCodes - 1)
          : kCodes == 256 ? fit_eight_bits(values)
                          : fit_signed(values, weights, kCodes / 2);
  blocks::store_half(line->scale, block);
  if (kMinimum) blocks::store_half(line->minimum, block + 2);
}

// The lowest code is 0 in the file.
template <int kBits, bool kMinimum>
void write_codes(const int8_t* codes, uint8_t* block) {
  constexpr int kLeast = kMinimum ? 0 : -(1 << (kBits - 1));
  uint8_t* out = block + (kMinimum ? 4 : 2);
  if (kBits == 5) {
    uint32_t high = 0;
    for (int i = 0; i < kCount; ++i)
      high |= static_cast<uint32_t>((codes[i] - kLeast) >> 4 & 1) << i;
    std::memcpy(out, &high, sizeof high);
    out += sizeof high;
  }
  for (int i = 0; i < kHalf; ++i) {
    const int low = (codes[i] - kLeast) & 15, high = (codes[i + kHalf] - kLeast) & 15;
    out[i] = static_cast<uint8_t>(low | high << 4);
  }
}

void write_bytes(const int8_t* codes, uint8_t* block) { std::memcpy(block + 2, codes, kCount); }

constexpr std::array kFormats{
    LineFormat{GgmlType::kQ4_0, 18, 1, -8, 7, fit_line<16, false>, write_codes<4, false>},
    LineFormat{GgmlType::kQ4_1, 20, 1, 0, 15, fit_line<16, true>, write_codes<4, true>},
    LineFormat{GgmlType::kQ5_0, 22, 1, -16, 15, fit_line<32, false>, write_codes<5, false>},
    LineFormat{GgmlType::kQ5_1, 24, 1, 0, 31, fit_line<32, true>, write_codes<5, true>},
    LineFormat{GgmlType::kQ8_0, 34, 1, -127, 127, fit_line<256, false>, write_bytes},
    LineFormat{GgmlType::kQ4_K, 144, 8, 0, 15, blocks::q4_k_fit, blocks::q4_k_write},
};

// Of the values of a line.
void weigh(GgmlType type, const float* values, float* weights) {
  std::fill(weights, weights + kCount, 1.0F);
  if (type != GgmlType::kQ4_K) return;
  float squares = 0;
  for (int i = 0; i < kCount; ++i) squares += values[i] * values[i];
  const float typical = std::sqrt(squares / kCount);
  for (int i = 0; i < kCount; ++i) weights[i] = typical + std::abs(values[i]);
}

// A block under way.
class Block {
 public:
  explicit Block(const LineFormat& format) : format_(format) {}

  void begin(const float* values, const float* weights, uint8_t* block) {
    std::memset(block, 0, static_cast<size_t>(format_.bytes));
    format_.fit(values, weights, block, lines_.data());
    for (size_t j = 0; j < lines_.size(); ++j) inverses_[j] = inverse_scale(lines_[j]);
  }
  // Chooses the code of value `i` of the block. → what it says.
  float code(int i, float value) {
    const auto line = static_cast<size_t>(i / kCount);
    const float code =
        nearest_code(value, lines_[line].minimum, inverses_[line],
                     static_cast<float>(format_.least), static_cast<float>(format_.most));
    codes_[static_cast<size_t>(i)] = static_cast<int8_t>(code);
    return lines_[line].value(code);
  }
  void end(uint8_t* block) const { format_.write(codes_.data(), block); }

 private:
  const LineFormat& format_;
  std::array<CodeLine, kMostLines> lines_ = {};
  std::array<float, kMostLines> inverses_ = {};
  std::array<int8_t, kMostLines * kCount> codes_ = {};
};

}  // namespace

const LineFormat* find_line_format(GgmlType type) {
  const auto row = std::ranges::find(kFormats, type, &LineFormat::type);
  return row == kFormats.end() ? nullptr : &*row;
}

template <GgmlType kType>
void nearest_blocks(const float* values, uint8_t* blocks, int64_t count) {
  const LineFormat& format = *find_line_format(kType);
  const int size = format.lines * kCount;
  std::array<float, kMostLines * kCount> weights;
  Block block(format);
  for (; count > 0; --count, blocks += format.bytes, values += size) {
    for (int j = 0; j < size; j += kCount) weigh(kType, values + j, &weights[j]);
    block.begin(values, weights.data(), blocks);
    for (int i = 0; i < size; ++i) block.code(i, values[i]);
    block.end(blocks);
  }
}

void compensated_blocks(const LineFormat& format, const Compensation& by, int64_t count,
                        float* values, float* errors, uint8_t* blocks) {
  const int size = format.lines * kCount;
  Block block(format);
  for (int64_t begin = 0; begin < count; begin += size, blocks += format.bytes) {
    block.begin(values + begin, by.weights + begin, blocks);
    for (int i = 0; i < size; ++i) {
      const int64_t at = begin + i;
      const float* const factor = by.factor + at * by.stride;
      const float error = (values[at] - block.code(i, values[at])) / factor[at];
      errors[at] = error;
      for (int64_t j = at + 1; j < count; ++j) values[j] -= error * factor[j];
    }
    block.end(blocks);
  }
}

template void nearest_blocks<GgmlType::kQ4_1>(const float*, uint8_t*, int64_t);
template void nearest_blocks<GgmlType::kQ5_0>(const float*, uint8_t*, int64_t);
template void nearest_blocks<GgmlType::kQ5_1>(const float*, uint8_t*, int64_t);
template void nearest_blocks<GgmlType::kQ4_K>(const float*, uint8_t*, int64_t);

}  // namespace continuo
