#include "models/registry.h"

#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace continuo {
namespace {

TransformerOptions small() {
  return {.layers = 2, .hidden = 32, .heads = 4, .kv_heads = 2, .head_dim = 8, .intermediate = 48,
          .vocabulary = 61, .context = 128, .tie_embeddings = false};
}

TEST(Registry, NamesAreUniqueAndFound) {
  std::set<std::string_view> names;
  for (const Family& family : families()) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
    EXPECT_EQ(find_family(family.name), &family);
    EXPECT_NE(known_families().find(family.name), std::string::npos);
  }
  EXPECT_EQ(find_family("no such family"), nullptr);
}

TEST(Registry, EveryFamilyReadsTheConfigThatItWrites) {
  for (const Family& family : families()) {
    const nlohmann::json config = family.write_config(small());
    EXPECT_EQ(config.at("model_type"), family.name);
    EXPECT_EQ(config.at("architectures").at(0), family.architecture);
    EXPECT_EQ(family.write_config(family.read_config(config, "config.json")), config);
  }
}

TEST(Registry, EveryParameterHasANameOfItsOwnInEveryFamily) {
  const Transformer model(small());
  for (const Family& family : families()) {
    std::set<std::string> names;
    for (const auto& item : model.named_parameters()) {
      EXPECT_TRUE(names.insert(family.checkpoint_name(item.key())).second) << item.key();
    }
  }
}

}  // namespace
}  // namespace continuo
