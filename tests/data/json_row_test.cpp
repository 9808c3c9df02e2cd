#include "data/json_row.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

JsonRow row(std::string_view line) { return std::get<JsonRow>(parse_json_row(line)); }
RowFault fault(std::string_view line) { return std::get<RowFault>(parse_json_row(line)); }

TEST(JsonRow, FlattensToDottedPaths) {
  const JsonRow r = row(R"({"a": "x", "b": {"c": "y"}, "list": [{"in": "z"}, 7, []], "e": {}})");
  EXPECT_EQ(r.find("a")->text, "x");
  EXPECT_EQ(r.find("b.c")->text, "y");
  EXPECT_EQ(r.find("list.0.in")->text, "z");
  EXPECT_EQ(r.find("list.1")->text, "7");
  EXPECT_EQ(r.find("list")->kind, JsonKind::kList);
  EXPECT_EQ(r.find("list")->count, 3);
  EXPECT_EQ(r.find("list.2")->count, 0);
  EXPECT_EQ(r.find("b")->kind, JsonKind::kObject);
  EXPECT_EQ(r.find("nope"), nullptr);
  EXPECT_EQ(r.names, (std::vector<std::string>{"a", "b", "list", "e"}));
}

TEST(JsonRow, NumbersAndBooleansKeepTheirSpelling) {
  const JsonRow r =
      row(R"({"a": 0.10, "b": -3, "c": true, "d": 18446744073709551615, "e": null, "f": 1e3})");
  EXPECT_EQ(r.find("a")->text, "0.10");
  EXPECT_EQ(r.find("b")->text, "-3");
  EXPECT_EQ(r.find("c")->text, "true");
  EXPECT_EQ(r.find("d")->text, "18446744073709551615");
  EXPECT_EQ(r.find("e")->kind, JsonKind::kNull);
  EXPECT_EQ(r.find("f")->text, "1e3");
}

TEST(JsonRow, DecodesEscapes) {
  EXPECT_EQ(row(R"({"a": "\u00e9\n\"\ud83d\ude00"})").find("a")->text, "é\n\"😀");
}

TEST(JsonRow, BadJsonNamesTheColumnInCharacters) {
  EXPECT_EQ(fault(R"({"a": oops})").column, 7);
  // é is two bytes but one column.
  EXPECT_EQ(fault(R"({"é": oops})").column, 7);
  EXPECT_EQ(fault(R"({"a": oops})").reason, "bad JSON");
  EXPECT_EQ(fault(R"({"a": 1} x)").column, 10);
  EXPECT_NE(fault(R"({"a": "tr)").message.find("ends too early"), std::string::npos);
  EXPECT_EQ(fault(R"({"a": "\ud800"})").reason, "bad JSON");
  EXPECT_EQ(fault(R"({"a": 1e999})").reason, "bad JSON");
}

TEST(JsonRow, OnlyObjectsWithDistinctFields) {
  EXPECT_EQ(fault("[1, 2]").reason, "not an object");
  EXPECT_NE(fault("[1, 2]").hint.find("jq"), std::string::npos);
  EXPECT_EQ(fault("\"text\"").message, "the row is a string, not an object");
  EXPECT_EQ(fault(R"({"a": 1, "a": 2})").message, "field \"a\" appears twice");
}

TEST(JsonRow, DeepNestingIsRefused) {
  EXPECT_NE(fault(R"({"a": )" + std::string(100000, '[')).message.find("nested deeper"),
            std::string::npos);
  EXPECT_EQ(row(R"({"a": [[[["x"]]]]})").find("a.0.0.0.0")->text, "x");
}

}  // namespace
}  // namespace continuo
