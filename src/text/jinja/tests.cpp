// The tests of templates: `value is defined`.
#include <algorithm>

#include "core/error.h"
#include "core/suggest.h"
#include "text/jinja/library.h"

namespace continuo::jinja {
namespace {

using Test = bool (*)(const Value&, const Arguments&);

const Value& operand(const Arguments& a) {
  if (a.positional.empty()) fail("the test needs something to compare with");
  return a.positional[0];
}
int64_t whole(const Value& value) {
  const auto number = value.if_int();
  if (!number) fail("a {} is no int", value.type_name());
  return *number;
}
bool is_int(const Value& v) { return v.if_int() && !v.if_bool(); }
bool is_iterable(const Value& v) {
  return v.if_text() || v.if_list() || v.if_dict() || v.undefined();
}
bool has_case(const Value& v, bool upper) {
  const Text text = to_text(v);
  const Value other = in_case(text, upper ? Case::kLower : Case::kUpper);
  return other.if_text()->bytes() != text.bytes() &&
         in_case(text, upper ? Case::kUpper : Case::kLower).if_text()->bytes() == text.bytes();
}

struct NamedTest {
  std::string_view name;
  Test passes;
};
constexpr NamedTest kTests[] = {
    {"defined", [](const Value& v, const Arguments&) { return !v.undefined(); }},
    {"undefined", [](const Value& v, const Arguments&) { return v.undefined(); }},
    {"none", [](const Value& v, const Arguments&) { return v.none(); }},
    {"string", [](const Value& v, const Arguments&) { return v.if_text() != nullptr; }},
    {"mapping", [](const Value& v, const Arguments&) { return v.if_dict() != nullptr; }},
    {"iterable", [](const Value& v, const Arguments&) { return is_iterable(v); }},
    {"sequence", [](const Value& v, const Arguments&) { return is_iterable(v); }},
    {"number", [](const Value& v, const Arguments&) { return v.if_number().has_value(); }},
    {"integer", [](const Value& v, const Arguments&) { return is_int(v); }},
    {"float", [](const Value& v, const Arguments&) { return v.is_float(); }},
    {"boolean", [](const Value& v, const Arguments&) { return v.if_bool().has_value(); }},
    {"true", [](const Value& v, const Arguments&) { return v.if_bool() == true; }},
    {"false", [](const Value& v, const Arguments&) { return v.if_bool() == false; }},
    {"callable", [](const Value& v, const Arguments&) { return v.if_function() != nullptr; }},
    {"upper", [](const Value& v, const Arguments&) { return has_case(v, true); }},
    {"lower", [](const Value& v, const Arguments&) { return has_case(v, false); }},
    {"odd", [](const Value& v, const Arguments&) { return whole(v) % 2 != 0; }},
    {"even", [](const Value& v, const Arguments&) { return whole(v) % 2 == 0; }},
    {"divisibleby",
     [](const Value& v, const Arguments& a) {
       const int64_t by = whole(operand(a));
       if (by == 0) fail("divisibleby 0");
       return by == -1 || whole(v) % by == 0;
     }},
    {"in", [](const Value& v, const Arguments& a) { return contains(operand(a), v); }},
    {"sameas", [](const Value& v, const Arguments& a) { return equal(v, operand(a)); }},
    {"equalto", [](const Value& v, const Arguments& a) { return equal(v, operand(a)); }},
    {"eq", [](const Value& v, const Arguments& a) { return equal(v, operand(a)); }},
    {"==", [](const Value& v, const Arguments& a) { return equal(v, operand(a)); }},
    {"ne", [](const Value& v, const Arguments& a) { return !equal(v, operand(a)); }},
    {"!=", [](const Value& v, const Arguments& a) { return !equal(v, operand(a)); }},
    {"lt", [](const Value& v, const Arguments& a) { return compare(v, operand(a)) < 0; }},
    {"<", [](const Value& v, const Arguments& a) { return compare(v, operand(a)) < 0; }},
    {"lessthan", [](const Value& v, const Arguments& a) { return compare(v, operand(a)) < 0; }},
    {"le", [](const Value& v, const Arguments& a) { return compare(v, operand(a)) <= 0; }},
    {"<=", [](const Value& v, const Arguments& a) { return compare(v, operand(a)) <= 0; }},
    {"gt", [](const Value& v, const Arguments& a) { return compare(v, operand(a)) > 0; }},
    {">", [](const Value& v, const Arguments& a) { return compare(v, operand(a)) > 0; }},
    {"greaterthan", [](const Value& v, const Arguments& a) { return compare(v, operand(a)) > 0; }},
    {"ge", [](const Value& v, const Arguments& a) { return compare(v, operand(a)) >= 0; }},
    {">=", [](const Value& v, const Arguments& a) { return compare(v, operand(a)) >= 0; }},
};

}  // namespace

bool apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  const auto* found = std::ranges::find(kTests, name, &NamedTest::name);
  if (found != std::end(kTests)) return found->passes(value, arguments);
  std::vector<std::string> names;
  for (const NamedTest& each : kTests) names.emplace_back(each.name);
  throw Error(fmt::format("there is no test '{}'", name), did_you_mean(name, names));
}

}  // namespace continuo::jinja
