#include "text/tokenizer/json_field.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

TEST(JsonField, ReadsValuesAndDefaults) {
  auto document = nlohmann::json::parse(
      R"({"s": "x", "b": true, "n": 2.5, "id": 2147483647, "list": [1, {"k": "v"}], "none": null})");
  Location where{.file = "t.json"};
  JsonField root(document, where);
  EXPECT_EQ(root.at("s").string(), "x");
  EXPECT_TRUE(root.at("b").boolean());
  EXPECT_EQ(root.at("n").number(), 2.5);
  EXPECT_EQ(root.at("id").token_id(), 2147483647);
  EXPECT_EQ(root.at("list").size(), 2u);
  EXPECT_EQ(root.at("list").item(1).at("k").string(), "v");
  EXPECT_FALSE(root.find("none"));
  EXPECT_FALSE(root.find("absent"));
  EXPECT_EQ(root.string("none", "d"), "d");
  EXPECT_FALSE(root.boolean("absent", false));
}

TEST(JsonField, FaultsNameFileAndPath) {
  auto document = nlohmann::json::parse(R"({"a": [{"b": 3}], "big": 2147483648, "minus": -1})");
  Location where{.file = "t.json"};
  JsonField root(document, where);
  auto says = [](auto&& body, const std::string& words) {
    std::string message = test::error_of(body);
    EXPECT_NE(message.find(words), std::string::npos) << message;
    EXPECT_NE(message.find("t.json"), std::string::npos) << message;
  };
  says([&] { root.at("a").item(0).at("b").string(); }, "a[0].b must be a string");
  says([&] { root.at("a").item(0).at("b").boolean(); }, "a[0].b must be true or false");
  says([&] { root.at("a").number(); }, "a must be a number");
  says([&] { root.at("a").at("x"); }, "a must be an object");
  says([&] { root.at("x"); }, "has no 'x'");
  says([&] { root.at("a").item(0).at("x"); }, "a[0] has no 'x'");
  says([&] { root.size(); }, "must be an array");
  says([&] { root.at("big").token_id(); }, "big must be a token id");
  says([&] { root.at("minus").token_id(); }, "minus must be a token id");
}

}  // namespace
}  // namespace continuo
