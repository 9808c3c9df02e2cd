#include "models/store/lora_config.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

struct LoraHolder {
  LoraConfig lora;
};
void fields(FieldVisitor& v, LoraHolder& c) { v.section("lora", c.lora, ""); }

std::string lora_faults(const std::string& yaml) {
  const ConfigNode root = parse_yaml(yaml, "x.yaml");
  LoraHolder holder;
  Problems problems;
  load_config(root, holder, problems);
  validate(holder.lora, root, "lora", problems);
  try {
    problems.raise();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(LoraConfig, ASectionThatIsAbsentMeansNoAdapters) {
  EXPECT_FALSE(LoraConfig().enabled());
  EXPECT_EQ(lora_faults("{}\n"), "");
  EXPECT_EQ(lora_faults(dump_config(LoraHolder())), "");
}

TEST(LoraConfig, FaultsHaveTheirPlace) {
  EXPECT_EQ(lora_faults("lora: {rank: 8, dropout: 0.1, dora: true}\n"), "");
  EXPECT_NE(lora_faults("\nlora: {alpha: 8}\n").find("x.yaml:2"), std::string::npos);
  EXPECT_NE(lora_faults("lora:\n  rank: -1\n").find("x.yaml:2"), std::string::npos);
  EXPECT_NE(lora_faults("lora:\n  rank: 8\n  dropout: 1.0\n").find("x.yaml:3"), std::string::npos);
  EXPECT_NE(lora_faults("lora:\n  rank: 8\n  targets: []\n").find("x.yaml:3"), std::string::npos);
  EXPECT_NE(lora_faults("lora:\n  from: adapter\n  rank: 8\n").find("has its own"),
            std::string::npos);
  EXPECT_NE(lora_faults("lora:\n  from: adapter\n  targets: q_proj\n").find("x.yaml:3"),
            std::string::npos);
  EXPECT_EQ(lora_faults("lora: {from: adapter, dropout: 0.1}\n"), "");
}

}  // namespace
}  // namespace continuo
