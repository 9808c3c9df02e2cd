#include "nn/named_parameters.h"

#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace continuo {
namespace {

TEST(NamedParameters, EachIsInTheRestOrInOnePart) {
  for (const bool tied : {true, false}) {
    SCOPED_TRACE(tied);
    ModelSpec spec = test::tiny_spec();
    spec.head.tied = tied;
    const auto model = test::tiny_model(spec);
    std::vector<std::vector<std::string>> names;
    const auto all = model->named_parameters();
    size_t seen = 0;
    for (const NamedParameters& part : parameters_by_part(*model)) {
      names.emplace_back();
      for (const auto& [name, parameter] : part) {
        names.back().push_back(name);
        EXPECT_TRUE(parameter.is_same(all[name])) << name;
        ++seen;
      }
    }
    EXPECT_EQ(seen, all.size());
    ASSERT_EQ(names.size(), 1u + 4u);
    EXPECT_EQ(names[0], (std::vector<std::string>{"norm.weight"}));
    EXPECT_EQ(names[1], (std::vector<std::string>{"embedding"}));
    for (size_t block = 0; block < 2; ++block) {
      for (const std::string& name : names[2 + block])
        EXPECT_TRUE(name.starts_with("blocks_" + std::to_string(block) + ".")) << name;
    }
    // Tied, the head is the embedding once more.
    EXPECT_EQ(names[4], tied ? std::vector<std::string>() : std::vector<std::string>{"head"});
  }
}

}  // namespace
}  // namespace continuo
