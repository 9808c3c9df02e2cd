#include "nn/named_parameters.h"

#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace continuo {
namespace {

TEST(NamedParameters, EachIsInTheRestOrInOneBlock) {
  const auto model = test::tiny_model();
  const std::vector<NamedParameters> parts = parameters_by_part(*model);
  ASSERT_EQ(parts.size(), 3u);
  std::vector<std::string> rest;
  for (const auto& [name, parameter] : parts[0]) rest.push_back(name);
  EXPECT_EQ(rest, (std::vector<std::string>{"embedding", "norm.weight"}));
  const auto all = model->named_parameters();
  size_t seen = parts[0].size();
  for (size_t block = 1; block < parts.size(); ++block) {
    for (const auto& [name, parameter] : parts[block]) {
      EXPECT_TRUE(name.starts_with("blocks_" + std::to_string(block - 1) + ".")) << name;
      EXPECT_TRUE(parameter.is_same(all[name])) << name;
      ++seen;
    }
  }
  EXPECT_EQ(seen, all.size());
}

}  // namespace
}  // namespace continuo
