#include "generate/sampling/stage_table.h"

#include <set>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(StageTable, NamesAreUniqueAndFound) {
  std::set<std::string_view> names;
  for (const StageSpec& spec : stage_table()) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    EXPECT_EQ(find_stage(spec.name), &spec);
    EXPECT_FALSE(spec.help.empty()) << spec.name;
  }
  EXPECT_EQ(names.size(), stage_names().size());
  EXPECT_EQ(find_stage("top_q"), nullptr);
}

TEST(StageTable, CanonicalOrderIsMasksPenaltiesTruncationTemperatureAndLastTheRest) {
  StageKind last = StageKind::kMask;
  for (const StageSpec& spec : stage_table()) {
    EXPECT_GE(static_cast<int>(spec.kind), static_cast<int>(last)) << spec.name;
    last = spec.kind;
  }
  EXPECT_LT(canonical_position(*find_stage("repetition")),
            canonical_position(*find_stage("top_k")));
}

TEST(StageTable, EveryStageIsMadeFromItsOwnResolvedDefaults) {
  for (const StageSpec& spec : stage_table()) {
    const ConfigNode empty = parse_yaml("{}", "t.yaml");
    const ConfigNode resolved = parse_yaml(spec.resolved(empty), "t.yaml");
    Problems problems;
    EXPECT_NE(spec.make(resolved, problems, "stage"), nullptr) << spec.name;
    EXPECT_NO_THROW(problems.raise()) << spec.name;
    if (!spec.main.empty()) {
      EXPECT_NE(resolved.find(spec.main), nullptr) << spec.name << " has no " << spec.main;
      EXPECT_NE(spec.params_help().find(spec.main), std::string::npos) << spec.name;
    }
  }
}

TEST(StageTable, UnknownParametersAreFaults) {
  for (const StageSpec& spec : stage_table()) {
    Problems problems;
    spec.make(parse_yaml("{no_such_parameter: 1}", "t.yaml"), problems, "");
    EXPECT_THROW(problems.raise(), Error) << spec.name;
  }
}

}  // namespace
}  // namespace continuo
