#include "core/json_events.h"

#include <functional>

#include <gtest/gtest.h>

#include "core/json.h"

namespace continuo {
namespace {

class Keys : public JsonEvents {
 public:
  bool key(string_t& name) override {
    names.push_back(name);
    return true;
  }
  std::vector<std::string> names;
};

std::string fault(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(JsonEvents, ComeInTheOrderOfTheDocument) {
  Keys keys;
  parse_json(R"({"b": {"c": [1, "x", null]}, "a": 2.5, "b": true})", {"f"}, keys);
  EXPECT_EQ(keys.names, (std::vector<std::string>{"b", "c", "a", "b"}));
}

TEST(JsonEvents, FaultsAreThoseOfTheTree) {
  for (const std::string& text :
       {std::string("{\"a\": 1,\n  b}"), std::string("[1, 2"), std::string("{} x"),
        std::string("[\"\xFF\"]"), std::string(600, '[')}) {
    Keys keys;
    const std::string expected = fault([&] { parse_json(text, {"f"}); });
    EXPECT_NE(expected, "(no error)");
    EXPECT_EQ(fault([&] { parse_json(text, {"f"}, keys); }), expected);
  }
}

}  // namespace
}  // namespace continuo
