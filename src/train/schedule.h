// The learning rate as a pure function of the step: nothing is remembered, so resuming needs
// nothing. Knows no optimizer.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/config/config.h"

namespace continuo {

enum class ScheduleKind { kConstant, kLinear, kCosine, kWsd };
enum class DecayShape { kLinear, kSqrt };
std::span<const EnumName> enum_names(ScheduleKind);
std::span<const EnumName> enum_names(DecayShape);

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kCosine;
  std::optional<int64_t> warmup_steps;  // when not set, warmup_share decides
  double warmup_share = 0.0;
  double final_lr_ratio = 0.0;
  double decay_share = 0.2;                    // wsd only
  DecayShape decay_shape = DecayShape::kSqrt;  // wsd only
};
void fields(FieldVisitor& v, ScheduleConfig& c);

// With T total steps, W warm-up steps, D = decay_share·T and the 0-based step s about to be taken:
//   s < W      peak · (s+1)/W: the first step already learns, step W-1 runs at the peak
//   then       peak · (m + (1-m)·f(p)), m = final_lr_ratio, p = (s-W)/(T-W) clamped to [0, 1]
//
//   constant   f = 1 (m is not used)
//   linear     f = 1-p, transformers' get_linear_schedule_with_warmup at step s
//   cosine     f = (1+cos(πp))/2, its get_cosine_schedule_with_warmup
//   wsd        f = 1 until the last D steps, then 1-p or 1-√p with p = (s-(T-D))/D
//              (Hägele et al. 2024, arXiv:2405.18392; WSD: MiniCPM, arXiv:2404.06395)
//
// Step T would be the first at the final rate: the last step that is taken, T-1, is one before it,
// so no step is wasted on a rate of 0. Steps at and after T keep the final rate. W ≥ T only ever
// warms up.
class LrSchedule {
 public:
  // Error: total_steps < 0, or a rate, share or ratio that is not finite and in its range.
  LrSchedule(const ScheduleConfig& config, double peak_lr, int64_t total_steps);

  double lr(int64_t step) const;
  int64_t warmup_steps() const { return warmup_; }
  int64_t total_steps() const { return total_; }

 private:
  ScheduleConfig config_;
  double peak_;
  int64_t total_, warmup_, decay_;
};

}  // namespace continuo
