#include "models/families/model_config.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

std::string faults(const std::string& yaml) {
  const ConfigNode root = parse_yaml("model: " + yaml, "x.yaml");
  ModelConfig config;
  Problems problems;
  load_config(*root.find("model"), config, problems);
  validate(config, root, "model", problems);
  try {
    problems.raise();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ModelConfig, ContradictionsAreFoundTogetherWithTheirPlace) {
  EXPECT_EQ(faults("{hidden: 64, heads: 4}"), "");
  const std::string text = faults("{hidden: 65, heads: 4, kv_heads: 3, family: lama}");
  EXPECT_NE(text.find("not a multiple of 4 heads"), std::string::npos);
  EXPECT_NE(text.find("cannot share 3"), std::string::npos);
  EXPECT_NE(text.find("unknown model family 'lama'"), std::string::npos);
  EXPECT_NE(text.find("x.yaml:1:"), std::string::npos);
}

TEST(ModelConfig, ACheckpointBringsItsOwnShape) {
  EXPECT_EQ(faults("{from: somewhere, hidden: 65, heads: 4}"), "");
}

}  // namespace
}  // namespace continuo
