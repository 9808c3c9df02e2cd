#include "models/families/config_reader.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace continuo {
namespace {

using nlohmann::json;

template <class F>
std::string reader_error(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ConfigReader, AbsentAndNullAreTheFallback) {
  const json config = {{"a", nullptr}};
  ConfigReader c(config, "config.json");
  EXPECT_EQ(c.size("a", 7), 7);
  EXPECT_EQ(c.positive("b", 0.5), 0.5);
  EXPECT_TRUE(c.flag("a", true));
  EXPECT_EQ(c.number("a", -0.5), -0.5);
  EXPECT_EQ(c.text("b", "x"), "x");
  EXPECT_TRUE(c.ids("a").empty());
  EXPECT_FALSE(c.has("a"));
}

TEST(ConfigReader, WrongTypesAndRangesAreNamed) {
  const json config = {{"n", 1.5},         {"big", 1e300},  {"zero", 0},
                       {"text", 3},        {"text2", "x"},  {"flag", 1},
                       {"list", {1, "x"}}, {"object", {1}}, {"huge", 1ull << 63}};
  ConfigReader c(config, "dir/config.json");
  for (const char* key : {"n", "big", "zero", "huge", "list"}) {
    const std::string text = reader_error([&] { c.size(key, 1); });
    EXPECT_EQ(text.find("dir/config.json"), 0u) << text;
    EXPECT_NE(text.find(key), std::string::npos) << text;
    EXPECT_NE(text.find("must be a positive integer"), std::string::npos) << text;
  }
  EXPECT_NE(reader_error([&] { c.positive("zero", 1); }).find("positive number"),
            std::string::npos);
  EXPECT_NE(reader_error([&] { c.number("text2", 1); }).find("finite number"), std::string::npos);
  EXPECT_NE(reader_error([&] { c.ids("list"); }).find("list of ids"), std::string::npos);
  EXPECT_NE(reader_error([&] { c.ids("n"); }).find("list of ids"), std::string::npos);
  EXPECT_NE(reader_error([&] { c.flag("flag", true); }).find("true or false"), std::string::npos);
  EXPECT_NE(reader_error([&] { c.text("text", ""); }).find("string"), std::string::npos);
  EXPECT_NE(reader_error([&] { c.numbers("list"); }).find("list of numbers"), std::string::npos);
  EXPECT_NE(reader_error([&] { c.object("object"); }).find("object"), std::string::npos);
  EXPECT_NE(reader_error([&] { c.size("missing"); }).find("is missing"), std::string::npos);
  EXPECT_NE(reader_error([] { ConfigReader(json(3), "x"); }).find("object"), std::string::npos);
}

TEST(ConfigReader, OnlyUnreadKeysThatMayMatterAreRefused) {
  const json config = {{"read", 3},        {"architectures", {"X"}},  {"off", false},
                       {"none", nullptr},  {"empty", json::object()}, {"torch_dtype", "bfloat16"},
                       {"use_cache", true}};
  ConfigReader c(config, "config.json");
  EXPECT_NE(reader_error([&] { c.finish(); }).find("'read' is not known to Continuo"),
            std::string::npos);
  c.size("read");
  EXPECT_NO_THROW(c.finish());
}

TEST(ConfigReader, OneIdIsAListOfOne) {
  const json config = {{"one", 2}, {"many", {0, 7}}};
  ConfigReader c(config, "config.json");
  EXPECT_EQ(c.ids("one"), std::vector<int64_t>{2});
  EXPECT_EQ(c.ids("many"), (std::vector<int64_t>{0, 7}));
}

TEST(ConfigReader, KeysOfAnObjectCarryItsName) {
  const json config = {{"rope", {{"spin", 2}}}};
  ConfigReader c(config, "config.json");
  EXPECT_NE(reader_error([&] { c.object("rope").finish(); }).find("'rope.spin'"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
