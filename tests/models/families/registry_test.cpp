#include "models/families/registry.h"

#include <set>
#include <utility>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace continuo {
namespace {

TransformerOptions small(const Family& family) {
  TransformerOptions o = {.layers = 2,
                          .hidden = 32,
                          .heads = 4,
                          .kv_heads = 2,
                          .head_dim = 8,
                          .intermediate = 48,
                          .vocabulary = 61,
                          .context = 128,
                          .tie_embeddings = false};
  if (family.name == "gpt2" || family.name == "gpt_neox") o.kv_heads = o.heads;
  if (family.specialise) family.specialise(o);
  return o;
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
    const TransformerOptions options = small(family);
    const nlohmann::json config = family.write_config(options);
    EXPECT_EQ(config.at("model_type"), family.name);
    EXPECT_EQ(config.at("architectures").at(0), family.architecture);
    EXPECT_EQ(family.read_config(config, "config.json"), options) << family.name;
    EXPECT_EQ(family.write_config(family.read_config(config, "config.json")), config);
  }
}

TEST(Registry, EveryParameterHasAPlaceOfItsOwnInEveryFamily) {
  for (const Family& family : families()) {
    const TransformerOptions options = small(family);
    std::set<std::pair<std::string, int64_t>> places;
    for (const auto& item : Transformer(options).named_parameters()) {
      const Placement place =
          family.placement ? family.placement(item.key(), options) : Placement{};
      EXPECT_TRUE(places.insert({family.checkpoint_name(item.key()), place.begin}).second)
          << item.key();
    }
  }
}

}  // namespace
}  // namespace continuo
