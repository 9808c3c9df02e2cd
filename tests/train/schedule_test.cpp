#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

#include "core/config/config.h"

namespace continuo {
namespace {

ScheduleConfig config_of(ScheduleKind kind, int64_t warmup, double final_ratio = 0) {
  ScheduleConfig config;
  config.kind = kind;
  config.warmup_steps = warmup;
  config.final_lr_ratio = final_ratio;
  return config;
}

TEST(LrSchedule, ConstantWithWarmup) {
  const LrSchedule schedule(config_of(ScheduleKind::kConstant, 4), 0.8, 10);
  const double expected[] = {0.2, 0.4, 0.6, 0.8, 0.8, 0.8};
  for (int step = 0; step < 6; ++step) EXPECT_DOUBLE_EQ(schedule.lr(step), expected[step]) << step;
  EXPECT_DOUBLE_EQ(schedule.lr(1000), 0.8);
}

TEST(LrSchedule, LinearByHand) {
  const LrSchedule schedule(config_of(ScheduleKind::kLinear, 2), 1.0, 6);
  const double expected[] = {0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0};
  for (int step = 0; step < 8; ++step) EXPECT_DOUBLE_EQ(schedule.lr(step), expected[step]) << step;
}

TEST(LrSchedule, LinearToAFinalRatio) {
  const LrSchedule schedule(config_of(ScheduleKind::kLinear, 0, 0.1), 2.0, 4);
  const double expected[] = {2.0, 1.55, 1.1, 0.65, 0.2, 0.2};
  for (int step = 0; step < 6; ++step) EXPECT_DOUBLE_EQ(schedule.lr(step), expected[step]) << step;
}

TEST(LrSchedule, CosineByHand) {
  const LrSchedule schedule(config_of(ScheduleKind::kCosine, 0), 1.0, 4);
  EXPECT_DOUBLE_EQ(schedule.lr(0), 1.0);
  EXPECT_DOUBLE_EQ(schedule.lr(1), (1 + std::numbers::sqrt2 / 2) / 2);
  EXPECT_DOUBLE_EQ(schedule.lr(2), 0.5);
  EXPECT_DOUBLE_EQ(schedule.lr(3), (1 - std::numbers::sqrt2 / 2) / 2);
  EXPECT_DOUBLE_EQ(schedule.lr(4), 0.0);
}

// After the warm-up the formulas are those of transformers' optimization.py and of torch's
// CosineAnnealingLR, written here as they stand there.
TEST(LrSchedule, EqualsTransformersAndTorchAfterWarmup) {
  const int64_t total = 97, warmup = 11;
  const LrSchedule linear(config_of(ScheduleKind::kLinear, warmup), 3e-4, total);
  const LrSchedule cosine(config_of(ScheduleKind::kCosine, warmup), 3e-4, total);
  const LrSchedule annealed(config_of(ScheduleKind::kCosine, 0, 0.1), 3e-4, total);
  for (int64_t step = warmup; step < total + 5; ++step) {
    const double s = static_cast<double>(step), t = static_cast<double>(total),
                 w = static_cast<double>(warmup);
    EXPECT_NEAR(linear.lr(step), 3e-4 * std::max(0.0, (t - s) / std::max(1.0, t - w)), 1e-18);
    if (step > total) continue;
    const double progress = (s - w) / std::max(1.0, t - w);
    EXPECT_NEAR(
        cosine.lr(step),
        3e-4 * std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * 0.5 * 2.0 * progress))),
        1e-18);
    const double eta_min = 3e-5;
    EXPECT_NEAR(annealed.lr(step),
                eta_min + (3e-4 - eta_min) * (1 + std::cos(std::numbers::pi * s / t)) / 2, 1e-18);
  }
}

TEST(LrSchedule, WarmupStableDecayByHand) {
  ScheduleConfig config = config_of(ScheduleKind::kWsd, 2);
  config.decay_share = 0.4;
  config.decay_shape = DecayShape::kLinear;
  const LrSchedule linear(config, 1.0, 10);
  const double expected[] = {0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0};
  for (int step = 0; step < 12; ++step) EXPECT_DOUBLE_EQ(linear.lr(step), expected[step]) << step;

  config.decay_shape = DecayShape::kSqrt;
  config.final_lr_ratio = 0.2;
  const LrSchedule sqrt(config, 1.0, 10);
  EXPECT_DOUBLE_EQ(sqrt.lr(5), 1.0);
  EXPECT_DOUBLE_EQ(sqrt.lr(7), 0.2 + 0.8 * 0.5);  // p = 1/4
  EXPECT_DOUBLE_EQ(sqrt.lr(9), 0.2 + 0.8 * (1 - std::sqrt(0.75)));
  EXPECT_DOUBLE_EQ(sqrt.lr(10), 0.2);
}

TEST(LrSchedule, WarmupShare) {
  ScheduleConfig config;
  config.warmup_share = 0.1;
  EXPECT_EQ(LrSchedule(config, 1, 30).warmup_steps(), 3);  // 0.1·30 is above 3 in floating point
  EXPECT_EQ(LrSchedule(config, 1, 3).warmup_steps(), 1);   // a share above 0 never becomes no step
  EXPECT_EQ(LrSchedule(config, 1, 0).warmup_steps(), 0);
  config.warmup_steps = 0;
  EXPECT_EQ(LrSchedule(config, 1, 30).warmup_steps(), 0);  // steps go before the share
}

TEST(LrSchedule, WarmupAsLongAsTheRunOrLonger) {
  for (const ScheduleKind kind : {ScheduleKind::kConstant, ScheduleKind::kLinear,
                                  ScheduleKind::kCosine, ScheduleKind::kWsd}) {
    const LrSchedule schedule(config_of(kind, 10), 1.0, 5);
    EXPECT_DOUBLE_EQ(schedule.lr(0), 0.1);
    EXPECT_DOUBLE_EQ(schedule.lr(4), 0.5);
    const LrSchedule exact(config_of(kind, 5), 1.0, 5);
    EXPECT_DOUBLE_EQ(exact.lr(4), 1.0);
  }
}

TEST(LrSchedule, EveryRateIsFiniteAndBetweenZeroAndThePeak) {
  for (const ScheduleKind kind : {ScheduleKind::kConstant, ScheduleKind::kLinear,
                                  ScheduleKind::kCosine, ScheduleKind::kWsd}) {
    for (int64_t total = 0; total <= 6; ++total) {
      for (int64_t warmup = 0; warmup <= 7; ++warmup) {
        const LrSchedule schedule(config_of(kind, warmup), 1.0, total);
        for (int64_t step = -1; step <= 8; ++step) {
          const double lr = schedule.lr(step);
          EXPECT_TRUE(lr >= 0 && lr <= 1) << total << " " << warmup << " " << step << ": " << lr;
          EXPECT_TRUE(step < 0 || step >= total || lr > 0) << "no step that is taken is wasted";
        }
      }
    }
  }
}

TEST(LrSchedule, RefusesNonsense) {
  EXPECT_THROW(LrSchedule({}, 1.0, -1), Error);
  EXPECT_THROW(LrSchedule({}, -1.0, 1), Error);
  EXPECT_THROW(LrSchedule({}, std::nan(""), 1), Error);
  EXPECT_THROW(LrSchedule(config_of(ScheduleKind::kLinear, -1), 1.0, 1), Error);
  EXPECT_THROW(LrSchedule(config_of(ScheduleKind::kLinear, 1, 1.5), 1.0, 1), Error);
}

TEST(LrSchedule, Config) {
  ScheduleConfig config;
  Problems problems;
  load_config(parse_yaml("kind: wsd\nwarmup_share: 0.05\ndecay_shape: linear\n", "x.yaml"), config,
              problems);
  problems.raise();
  EXPECT_EQ(config.kind, ScheduleKind::kWsd);
  EXPECT_EQ(config.decay_shape, DecayShape::kLinear);
  EXPECT_FALSE(config.warmup_steps);
}

}  // namespace
}  // namespace continuo
