#include "models/families/registry.h"

#include <set>
#include <utility>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/tiny_model.h"

namespace continuo {
namespace {

ModelSpec small(const Family& family) {
  const bool grouped = family.name != "gpt2" && family.name != "gpt_neox";
  ModelSpec spec =
      test::tiny_spec([&](BlockSpec& block) { block.attend().kv_heads = grouped ? 2 : 4; });
  spec.head.tied = false;
  if (family.specialise) family.specialise(spec);
  return spec;
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
    const ModelSpec spec = small(family);
    const nlohmann::json config = family.write_config(spec);
    EXPECT_EQ(config.at("model_type"), family.name);
    EXPECT_EQ(config.at("architectures").at(0), family.architecture);
    EXPECT_EQ(family.read_config(config, "config.json"), spec) << family.name;
    EXPECT_EQ(family.write_config(family.read_config(config, "config.json")), config);
  }
}

TEST(Registry, EveryParameterHasAPlaceOfItsOwnInEveryFamily) {
  for (const Family& family : families()) {
    const ModelSpec spec = small(family);
    std::set<std::pair<std::string, int64_t>> places;
    for (const auto& item : Transformer(spec).named_parameters()) {
      const Placement place = family.placement ? family.placement(item.key(), spec) : Placement{};
      EXPECT_TRUE(places.insert({family.checkpoint_name(item.key()), place.begin}).second)
          << item.key();
    }
  }
}

}  // namespace
}  // namespace continuo
