// The `train:` section: how long, how fast, how exact, and how often to look.
#pragma once

#include <cstdint>

#include "core/config/config.h"
#include "train/head_loss.h"

namespace continuo {

enum class ComputeType { kAuto, kFloat32, kBfloat16 };
std::span<const EnumName> enum_names(ComputeType);

// What several ranks part among them instead of holding it each.
enum class Shard { kNone, kOptimizer, kAll };
std::span<const EnumName> enum_names(Shard);

struct TrainConfig {
  double lr = 1e-4;
  int64_t steps = 0;  // 0 = as many as `epochs` take
  double epochs = 1;
  ComputeType dtype = ComputeType::kFloat32;
  bool recompute = false;
  Shard shard = Shard::kOptimizer;
  double label_smoothing = 0;
  double z_loss = 0;
  int64_t loss_memory_mb = 64;
  int64_t log_every = 1;
  int64_t eval_every = 0;    // steps; 0 = only at the end
  int64_t sample_every = 0;  // steps; 0 = only at the end
  int64_t early_stopping = 0;
  double early_stopping_delta = 0;

  LossOptions loss() const {
    return {.label_smoothing = label_smoothing,
            .z_loss = z_loss,
            .head = {.memory_budget = loss_memory_mb << 20}};
  }
};
void fields(FieldVisitor& v, TrainConfig& c);

}  // namespace continuo
