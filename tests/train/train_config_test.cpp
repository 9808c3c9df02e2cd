#include "train/train_config.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(TrainConfig, ReadsItsKeysAndDerivesTheLoss) {
  TrainConfig config;
  Problems problems;
  load_config(parse_yaml("{dtype: bf16, z_loss: 1e-4, loss_memory_mb: 2}", "t.yaml"), config,
              problems);
  problems.raise();
  EXPECT_EQ(config.dtype, ComputeType::kBfloat16);
  EXPECT_EQ(config.loss().head.memory_budget, 2 << 20);
  EXPECT_EQ(config.loss().z_loss, 1e-4);
}

TEST(TrainConfig, WrongValuesAreRefused) {
  TrainConfig config;
  Problems problems;
  load_config(parse_yaml("{dtype: fp16, lr: 0, label_smoothing: 2}", "t.yaml"), config, problems);
  try {
    problems.raise();
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    for (const char* key : {"dtype", "lr", "label_smoothing"})
      EXPECT_NE(text.find(key), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace continuo
