#include "train/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace continuo {
namespace {

// A share of the steps; a share above 0 never rounds to no step.
int64_t share_of(double share, int64_t total) {
  if (share <= 0) return 0;
  return std::clamp<int64_t>(std::llround(share * static_cast<double>(total)),
                             std::min<int64_t>(1, total), total);
}

// f(p) of the header, p in [0, 1].
double remaining(ScheduleKind kind, DecayShape shape, double p) {
  switch (kind) {
    case ScheduleKind::kConstant:
      return 1;
    case ScheduleKind::kLinear:
      return 1 - p;
    case ScheduleKind::kCosine:
      return (1 + std::cos(std::numbers::pi * p)) / 2;
    case ScheduleKind::kWsd:
      return shape == DecayShape::kLinear ? 1 - p : 1 - std::sqrt(p);
  }
  fail("unknown schedule");
}

}  // namespace

std::span<const EnumName> enum_names(ScheduleKind) {
  static constexpr std::array<EnumName, 4> kNames{
      {{"constant", static_cast<int>(ScheduleKind::kConstant)},
       {"linear", static_cast<int>(ScheduleKind::kLinear)},
       {"cosine", static_cast<int>(ScheduleKind::kCosine)},
       {"wsd", static_cast<int>(ScheduleKind::kWsd)}}};
  return kNames;
}

std::span<const EnumName> enum_names(DecayShape) {
  static constexpr std::array<EnumName, 2> kNames{
      {{"linear", static_cast<int>(DecayShape::kLinear)},
       {"sqrt", static_cast<int>(DecayShape::kSqrt)}}};
  return kNames;
}

void fields(FieldVisitor& v, ScheduleConfig& c) {
  v.field("kind", c.kind, "Shape after the warm-up; wsd = warmup, stable, decay.");
  v.field("warmup_steps", c.warmup_steps, "Steps of linear warm-up; null = warmup_share decides.",
          Range::at_least(0));
  v.field("warmup_share", c.warmup_share, "Warm-up as a share of all steps.", Range::between(0, 1));
  v.field("final_lr_ratio", c.final_lr_ratio, "Rate at the end, as a share of the peak.",
          Range::between(0, 1));
  v.field("decay_share", c.decay_share, "wsd: share of all steps that decays at the end.",
          Range::between(0, 1));
  v.field("decay_shape", c.decay_shape, "wsd: linear, or sqrt = 1 minus square root.");
}

LrSchedule::LrSchedule(const ScheduleConfig& config, double peak_lr, int64_t total_steps)
    : config_(config), peak_(peak_lr), total_(total_steps) {
  if (total_ < 0) fail("a schedule cannot have {} steps", total_);
  if (!std::isfinite(peak_) || peak_ < 0) fail("a learning rate of {} makes no sense", peak_);
  for (double share : {config.warmup_share, config.final_lr_ratio, config.decay_share}) {
    if (!(share >= 0 && share <= 1)) fail("shares of a schedule lie in [0, 1], not at {}", share);
  }
  warmup_ = config.warmup_steps.value_or(share_of(config.warmup_share, total_));
  if (warmup_ < 0) fail("a schedule cannot have {} warm-up steps", warmup_);
  const int64_t after_warmup = std::max<int64_t>(0, total_ - warmup_);
  decay_ = config.kind == ScheduleKind::kConstant ? 0
           : config.kind == ScheduleKind::kWsd
               ? std::min(share_of(config.decay_share, total_), after_warmup)
               : after_warmup;
}

double LrSchedule::lr(int64_t step) const {
  step = std::max<int64_t>(0, step);
  if (step < warmup_) return peak_ * static_cast<double>(step + 1) / static_cast<double>(warmup_);
  if (config_.kind == ScheduleKind::kConstant || step < total_ - decay_) return peak_;
  const double p = decay_ == 0 ? 1.0
                               : std::min(1.0, static_cast<double>(step - (total_ - decay_)) /
                                                   static_cast<double>(decay_));
  const double floor = config_.final_lr_ratio;
  return peak_ * (floor + (1 - floor) * remaining(config_.kind, config_.decay_shape, p));
}

}  // namespace continuo
