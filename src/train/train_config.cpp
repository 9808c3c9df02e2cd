#include "train/train_config.h"

#include <array>

namespace continuo {

std::span<const EnumName> enum_names(ComputeType) {
  static constexpr std::array kNames = {EnumName{"auto", static_cast<int>(ComputeType::kAuto)},
                                        EnumName{"fp32", static_cast<int>(ComputeType::kFloat32)},
                                        EnumName{"bf16", static_cast<int>(ComputeType::kBfloat16)}};
  return kNames;
}

std::span<const EnumName> enum_names(Shard) {
  static constexpr std::array kNames = {EnumName{"none", static_cast<int>(Shard::kNone)},
                                        EnumName{"optimizer", static_cast<int>(Shard::kOptimizer)},
                                        EnumName{"all", static_cast<int>(Shard::kAll)}};
  return kNames;
}

void fields(FieldVisitor& v, TrainConfig& c) {
  v.field("lr", c.lr, "Peak learning rate.", Range::positive());
  v.field("steps", c.steps, "Optimizer steps; 0 = as many as `epochs` take.", Range::at_least(0));
  v.field("epochs", c.epochs, "Passes over the data when steps is 0.", Range::positive());
  v.field("dtype", c.dtype,
          "Products in fp32, or in bf16 over fp32 master weights; auto: bf16 where the machine "
          "multiplies it faster, and with adapters where it is as fast.");
  v.field("recompute", c.recompute,
          "Keep only block inputs and recompute the rest: less memory, about a third slower.");
  v.field("shard", c.shard,
          "What ranks part among them: optimizer (moments and sums of gradients), all (also the "
          "weights of blocks, for models that a rank cannot hold), or none; the same numbers.");
  v.field("label_smoothing", c.label_smoothing, "Share of the target spread over the vocabulary.",
          Range::between(0, 1));
  v.field("z_loss", c.z_loss, "Coefficient of log²Z.", Range::at_least(0));
  v.field("loss_memory_mb", c.loss_memory_mb, "Memory for logits at any one time, MiB.",
          Range::at_least(1));
  v.field("log_every", c.log_every, "Steps between lines of metrics.jsonl.", Range::at_least(1));
  v.field("eval_every", c.eval_every, "Steps between evaluations; 0 = only at the end.",
          Range::at_least(0));
  v.field("sample_every", c.sample_every, "Steps between sample completions; 0 = only at the end.",
          Range::at_least(0));
  v.field("early_stopping", c.early_stopping,
          "Stop after this many evaluations without improvement; 0 = never.", Range::at_least(0));
  v.field("early_stopping_delta", c.early_stopping_delta,
          "Smallest drop of the evaluation loss that counts.", Range::at_least(0));
}

}  // namespace continuo
