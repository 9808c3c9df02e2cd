// The lines and codes of Q4_K. Each of the eight sub-blocks is approximated by scale·q − min, q in
// 0…15, with the least weighted square error; then scales and minima are rounded to 6 bits under
// the super-block's two half-precision factors, again choosing by error.
#include <algorithm>
#include <array>
#include <cmath>

#include "io/block_formats.h"
#include "io/line_blocks.h"

namespace continuo::blocks {
namespace {

constexpr int kSize = 256, kSub = 32, kSubs = kSize / kSub;
constexpr float kTop = 15;  // largest q

struct Fit {
  float scale = 0, min = 0;  // both ≥ 0
  float error = 0;
};

// The q nearest to `value`. Adding 1.5·2²³ rounds to an integer and lets the loops vectorise.
float nearest(float value) {
  constexpr float kShift = 12582912.0F;
  return (std::clamp(value, 0.0F, kTop) + kShift) - kShift;
}

// The best scale and min for q = nearest((x + min)·inverse), by weighted least squares.
Fit fit_to(const float* x, const float* w, float min, float inverse) {
  std::array<float, kSub> q;
  double sum_w = 0, sum_q = 0, sum_qq = 0, sum_x = 0, sum_qx = 0;  // as in LineSums
  for (size_t i = 0; i < kSub; ++i) {
    q[i] = nearest((x[i] + min) * inverse);
    const double weight = w[i], weighted = weight * q[i];
    sum_w += weight;
    sum_q += weighted;
    sum_qq += weighted * q[i];
    sum_x += weight * x[i];
    sum_qx += weighted * x[i];
  }
  Fit fit;
  const double determinant = sum_w * sum_qq - sum_q * sum_q;
  if (determinant > 0) {
    fit.scale = static_cast<float>((sum_w * sum_qx - sum_x * sum_q) / determinant);
    fit.min = static_cast<float>((sum_q * sum_qx - sum_qq * sum_x) / determinant);
  }
  if (determinant <= 0 || fit.min < 0) {
    fit.min = 0;
    fit.scale = static_cast<float>(sum_qq > 0 ? sum_qx / sum_qq : 0);
  }
  fit.scale = std::max(fit.scale, 0.0F);
  for (size_t i = 0; i < kSub; ++i) {
    const float miss = fit.scale * q[i] - fit.min - x[i];
    fit.error += w[i] * miss * miss;
  }
  return fit;
}

// Tries steps around range/15: clipping an outlier often pays.
Fit search(const float* x, const float* w) {
  const float lowest = std::min(*std::min_element(x, x + kSub), 0.0F);
  const float range = *std::max_element(x, x + kSub) - lowest;
  if (range <= 0 || !std::isfinite((kTop + 1) / range)) return {0, -lowest, 0};
  Fit best = fit_to(x, w, -lowest, kTop / range);
  for (float levels = kTop - 1; levels <= kTop + 1; levels += 0.1F) {
    const Fit fit = fit_to(x, w, -lowest, levels / range);
    if (fit.error < best.error) best = fit;
  }
  // Nearest q under the fitted line, and the line again.
  for (int round = 0; round < 2 && best.scale > 0; ++round) {
    const float inverse = 1 / best.scale;
    if (!std::isfinite(inverse)) break;
    const Fit fit = fit_to(x, w, best.min, inverse);
    if (fit.error >= best.error) break;
    best = fit;
  }
  return best;
}

float error_of(const float* x, const float* w, float scale, float min) {
  const float inverse = scale > 0 ? 1 / scale : 0;
  float error = 0;
  for (size_t i = 0; i < kSub; ++i) {
    const float miss = scale * nearest((x[i] + min) * inverse) - min - x[i];
    error += w[i] * miss * miss;
  }
  return error;
}

// A super-block's factor: the largest sub-block value becomes 63.
float factor(const std::array<Fit, kSubs>& fits, float Fit::* member) {
  float largest = 0;
  for (const Fit& fit : fits) largest = std::max(largest, fit.*member);
  return half_to_float(float_to_half(largest / 63));
}

int code_of(float value, float unit) {
  return unit > 0 ? std::clamp(static_cast<int>(std::lround(value / unit)), 0, 63) : 0;
}

struct Codes {
  int scale, min;
};

// Rounding each to the nearest code is not best for both together: the neighbours are tried too.
Codes choose_codes(const float* x, const float* w, const Fit& fit, float d, float dmin) {
  const Codes centre{code_of(fit.scale, d), code_of(fit.min, dmin)};
  Codes best = centre;
  float best_error =
      error_of(x, w, d * static_cast<float>(centre.scale), dmin * static_cast<float>(centre.min));
  for (int scale = std::max(centre.scale - 1, 0); scale <= std::min(centre.scale + 1, 63);
       ++scale) {
    for (int min = std::max(centre.min - 1, 0); min <= std::min(centre.min + 1, 63); ++min) {
      const float error =
          error_of(x, w, d * static_cast<float>(scale), dmin * static_cast<float>(min));
      if (error < best_error) {
        best = {scale, min};
        best_error = error;
      }
    }
  }
  return best;
}

// The counterpart of unpack_scale_min in blocks_256.cpp; `packed` is zero before.
void pack_codes(const Codes& codes, int j, uint8_t* packed) {
  if (j < 4) {
    packed[j] = static_cast<uint8_t>(codes.scale);
    packed[j + 4] = static_cast<uint8_t>(codes.min);
    return;
  }
  packed[j + 4] = static_cast<uint8_t>((codes.scale & 15) | (codes.min & 15) << 4);
  packed[j - 4] = static_cast<uint8_t>(packed[j - 4] | (codes.scale >> 4) << 6);
  packed[j] = static_cast<uint8_t>(packed[j] | (codes.min >> 4) << 6);
}

}  // namespace

void q4_k_fit(const float* values, const float* weights, uint8_t* block, CodeLine* lines) {
  std::array<Fit, kSubs> fits;
  for (int j = 0; j < kSubs; ++j)
    fits[static_cast<size_t>(j)] = search(values + j * kSub, weights + j * kSub);
  const float d = factor(fits, &Fit::scale), dmin = factor(fits, &Fit::min);
  store_half(d, block);
  store_half(dmin, block + 2);
  for (int j = 0; j < kSubs; ++j) {
    const Codes codes =
        choose_codes(values + j * kSub, weights + j * kSub, fits[static_cast<size_t>(j)], d, dmin);
    pack_codes(codes, j, block + 4);
    lines[j] = {d * static_cast<float>(codes.scale), -dmin * static_cast<float>(codes.min)};
  }
}

void q4_k_write(const int8_t* codes, uint8_t* block) {
  for (int j = 0; j < kSubs; ++j) {
    uint8_t* const qs = block + 16 + j / 2 * kSub;
    for (int i = 0; i < kSub; ++i)
      qs[i] = static_cast<uint8_t>(qs[i] | codes[j * kSub + i] << (j % 2 * 4));
  }
}

}  // namespace continuo::blocks
