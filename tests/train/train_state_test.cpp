#include "train/train_state.h"

#include <cmath>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace continuo {
namespace {

TrainState sample() {
  return {.step = 7,
          .epoch = 1,
          .index = 3,
          .rows = 56,
          .tokens = 1'000'000'000'000,
          .trained_tokens = 9,
          .best_eval_loss = 0.1,
          .best_eval_step = 5,
          .evals_without_improvement = 2,
          .config_hash = "c",
          .data_hash = "d",
          .tokenizer_hash = "t",
          .template_hash = "p",
          .seconds = 1.0 / 3,
          .arithmetic = {.threads = 2, .dtype = "bf16", .instruction_set = "avx2", .ranks = 4}};
}

std::string state_fault(const nlohmann::json& json) {
  try {
    parse_train_state(json.dump(), "state.json");
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(TrainState, RoundTrip) {
  EXPECT_EQ(parse_train_state(to_json(sample()), "state.json"), sample());
  EXPECT_EQ(parse_train_state(to_json({}), "state.json"), TrainState{});
}

TEST(TrainState, EveryKeyIsNeededAndChecked) {
  const auto good = nlohmann::json::parse(to_json(sample()));
  EXPECT_EQ(good.size(), 19u);
  EXPECT_EQ(state_fault(good), "");
  for (const auto& [key, value] : good.items()) {
    auto without = good;
    without.erase(key);
    EXPECT_NE(state_fault(without).find("'" + key + "'"), std::string::npos)
        << key << ": " << state_fault(without);
    auto wrong = good;
    wrong[key] = nlohmann::json::array();
    EXPECT_NE(state_fault(wrong).find("'" + key + "'"), std::string::npos)
        << key << ": " << state_fault(wrong);
  }
}

TEST(TrainState, RefusesUnknownKeysBadNumbersAndOtherVersions) {
  const auto good = nlohmann::json::parse(to_json(sample()));
  auto json = good;
  json["extra"] = 1;
  EXPECT_NE(state_fault(json).find("unknown key 'extra'"), std::string::npos);
  for (const nlohmann::json& value :
       {nlohmann::json(-1), nlohmann::json(1.5), nlohmann::json(~uint64_t{0})}) {
    json = good;
    json["step"] = value;
    EXPECT_NE(state_fault(json).find("'step'"), std::string::npos) << value;
  }
  json = good;
  json["format_version"] = 4;
  EXPECT_NE(state_fault(json).find("newer Continuo"), std::string::npos);
  EXPECT_NE(state_fault(nlohmann::json::array()).find("not a JSON object"), std::string::npos);
  EXPECT_THROW(parse_train_state("{", "state.json"), Error);
}

TEST(TrainState, EarlierVersionsAreReadWithoutWhatTheyDidNotKnow) {
  auto second = nlohmann::json::parse(to_json(sample()));
  second["format_version"] = 2;
  EXPECT_NE(state_fault(second).find("unknown key 'ranks'"), std::string::npos);
  second.erase("ranks");
  TrainState of_second = sample();
  of_second.arithmetic.ranks = 1;
  EXPECT_EQ(parse_train_state(second.dump(), "state.json"), of_second);

  auto first = second;
  first["format_version"] = 1;
  EXPECT_NE(state_fault(first).find("unknown key 'dtype'"), std::string::npos);
  first.erase("dtype");
  first.erase("instruction_set");
  TrainState expected = sample();
  expected.arithmetic = {.threads = 2};
  EXPECT_EQ(parse_train_state(first.dump(), "state.json"), expected);
  first["format_version"] = 0;
  EXPECT_NE(state_fault(first).find("format version 0"), std::string::npos);
}

TEST(TrainState, NonFiniteNumbersAreNotWritten) {
  TrainState state;
  state.best_eval_loss = std::nan("");
  EXPECT_THROW(to_json(state), Error);
}

}  // namespace
}  // namespace continuo
