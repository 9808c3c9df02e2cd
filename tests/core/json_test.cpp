#include "core/json.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::expect_error;

TEST(ParseJson, Reads) {
  EXPECT_EQ(parse_json(R"({"a": [1, "é"]})", {"x"})["a"][1], "é");
  test::TempDir dir;
  EXPECT_EQ(read_json(dir.write("a.json", "[1]"))[0], 1);
}

TEST(ParseJson, FaultsHaveLineAndColumn) {
  expect_error([] { parse_json("{\n  \"a\": 1,\n  \"b\" 2\n}", {"x.json"}); },
               {"x.json:3:7: invalid JSON", "':'"});
  expect_error([] { parse_json("{\"é\": tru}", {"d.jsonl", 41}); },
               {"d.jsonl:41:", "invalid JSON"});
  expect_error([] { parse_json("", {"x.json"}); }, {"x.json:1:1", "invalid JSON"});
  expect_error([] { parse_json("{\"a\": 1", {"x.json", 7}); }, {"x.json:7:8", "invalid JSON"});
  expect_error([] { parse_json("1 2", {"x.json"}); }, {"x.json:1:3"});
  expect_error([] { parse_json("{\"a\": \"\xff\"}", {"x.json"}); }, {"x.json:1:8", "not UTF-8"});
  expect_error([] { parse_json("[1e999]", {"x.json"}); }, {"x.json", "invalid JSON"});
  expect_error([] { read_json("/nowhere/x.json"); }, {"/nowhere/x.json", "No such file"});
}

TEST(ParseJson, DeepNestingIsNoCrash) {
  expect_error([] { parse_json(std::string(200000, '['), {"x"}); }, {"x:1:"});
  std::string closed = std::string(501, '[') + std::string(501, ']');
  expect_error([&] { parse_json(closed, {"x"}); }, {"x:1:501", "nested deeper than 500"});
  EXPECT_TRUE(parse_json(closed.substr(1, 1000), {"x"}).is_array());
  EXPECT_TRUE(parse_json("[\"" + std::string(900, '[') + "\\\"[\"]", {"x"}).is_array());
}

TEST(LocateOffset, CountsCodePoints) {
  std::string text = "ab\nçd\ne";
  EXPECT_EQ(locate_offset(text, 0, {"f"}).str(), "f:1:1");
  EXPECT_EQ(locate_offset(text, 3, {"f"}).str(), "f:2:1");
  EXPECT_EQ(locate_offset(text, 5, {"f"}).str(), "f:2:2");
  EXPECT_EQ(locate_offset(text, 7, {"f"}).str(), "f:3:1");
  EXPECT_EQ(locate_offset(text, 999, {"f"}).str(), "f:3:2");
  EXPECT_EQ(locate_offset(text, 1, {"f", 10, 5}).str(), "f:10:6");
  EXPECT_EQ(locate_offset(text, 3, {"f", 10, 5}).str(), "f:11:1");
}

}  // namespace
}  // namespace continuo
