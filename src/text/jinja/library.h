// What a template may call: filters, tests and the methods of strings, lists and dictionaries.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace continuo::jinja {

// The work that one rendering may do, so that no template hangs or fills the memory.
class Budget {
 public:
  static constexpr size_t kSteps = 8'000'000;
  // Error: spent.
  void spend(size_t steps);
  void spend_text(size_t bytes) { spend(bytes / 8 + 1); }
  // Looking for a part in a text: the worst case of doing it.
  void spend_search(size_t bytes, size_t part);

 private:
  size_t left_ = kSteps;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // By position or name; nullptr when it is not given.
  const Value* find(size_t index, std::string_view name) const;
  // With a type. Error: another type, or (without a default) not given.
  const Text& text(size_t index, std::string_view name) const;
  int64_t integer(size_t index, std::string_view name, int64_t otherwise) const;
  bool flag(size_t index, std::string_view name, bool otherwise) const;
  // Error: more than `positional`.
  void at_most(size_t count, std::string_view of) const;
};

// Error: no such filter, or arguments it does not take.
Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments,
                   Budget& budget);
bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);
// value.name(arguments). Error: the value has no such method.
Value call_method(const Value& value, const std::string& name, const Arguments& arguments,
                  Budget& budget);

// value.name: a member of a dictionary or namespace; undefined for others. Error: of undefined.
Value attribute_of(const Value& value, const std::string& name);
// value[index]; undefined when there is none.
Value element_of(const Value& value, const Value& index);
// value[begin:end:step], where each may be none.
Value slice_of(const Value& value, const Value& begin, const Value& end, const Value& step,
               Budget& budget);

// Steps that filters and methods share.
Value replaced(const Text& text, const Text& from, const Text& to, int64_t count, Budget& budget);
Value joined(const Text& separator, const std::vector<Value>& items, Budget& budget);
enum class Case { kUpper, kLower, kTitle, kCapitalize };
Value in_case(const Text& text, Case to);

}  // namespace continuo::jinja
