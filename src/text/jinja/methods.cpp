// Methods that templates call on values, as Python's.
#include <algorithm>
#include <optional>

#include "core/error.h"
#include "text/jinja/library.h"

namespace continuo::jinja {
namespace {

Value strip(const Text& text, const Arguments& a, bool left, bool right) {
  const Value* given = a.find(0, "chars");
  const Bounds bounds = strip_bounds(
      text.view(), left, right, given && !given->none() ? &a.text(0, "chars").bytes() : nullptr);
  return Value(text.slice(bounds.begin, bounds.end));
}

// Of a string, or any of a tuple of them.
bool has_affix(const Text& text, const Arguments& a, bool at_start) {
  const Value* affix = a.find(0, at_start ? "prefix" : "suffix");
  const auto matches = [&](const Value& one) {
    if (!one.if_text()) fail("an affix must be a str, not a {}", one.type_name());
    return at_start ? text.view().starts_with(one.if_text()->view())
                    : text.view().ends_with(one.if_text()->view());
  };
  if (!affix) fail("an affix is missing");
  if (const List* list = affix->if_list()) return std::ranges::any_of(list->items, matches);
  return matches(*affix);
}

// At white space: runs of it separate, none at the ends counts.
std::vector<Value> split_words(const Text& text, int64_t most) {
  std::vector<Value> parts;
  const std::string_view all = text.view();
  size_t at = strip_bounds(all, true, false, nullptr).begin;
  while (at < all.size()) {
    if (most >= 0 && std::ssize(parts) == most) {
      parts.emplace_back(text.slice(at, strip_bounds(all, false, true, nullptr).end));
      break;
    }
    size_t end = at;
    while (end < all.size()) {
      const auto [c, length] = code_point_at(all, end);
      if (is_space(c)) break;
      end += length;
    }
    parts.emplace_back(text.slice(at, end));
    at = end + strip_bounds(all.substr(end), true, false, nullptr).begin;
  }
  return parts;
}

Value split(const Text& text, const Arguments& a, bool from_right, Budget& budget) {
  const Value* separator = a.find(0, "sep");
  const int64_t most = a.integer(1, "maxsplit", -1);
  if (!separator || separator->none()) {
    if (from_right && most >= 0) fail("rsplit without a separator is not supported");
    budget.spend(text.size());
    return Value::list(split_words(text, most));
  }
  const Text& mark = a.text(0, "sep");
  if (mark.empty()) fail("the separator is empty");
  budget.spend_search(text.size(), mark.size());
  std::vector<Value> parts;
  const std::string_view all = text.view();
  size_t begin = 0, end = all.size();
  while (most < 0 || std::ssize(parts) < most) {
    budget.spend(1);
    const size_t at = from_right ? end < mark.size() ? std::string_view::npos
                                                     : all.rfind(mark.view(), end - mark.size())
                                 : all.find(mark.view(), begin);
    if (at == std::string_view::npos) break;
    if (from_right) {
      parts.emplace_back(text.slice(at + mark.size(), end));
      end = at;
    } else {
      parts.emplace_back(text.slice(begin, at));
      begin = at + mark.size();
    }
  }
  parts.emplace_back(text.slice(begin, end));
  if (from_right) std::ranges::reverse(parts);
  return Value::list(std::move(parts));
}

Value split_lines(const Text& text, bool keep) {
  std::vector<Value> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.bytes().find_first_of("\r\n", begin), text.size());
    size_t next = std::min(end + 1, text.size());
    if (text.view().substr(end).starts_with("\r\n")) next = end + 2;
    lines.emplace_back(text.slice(begin, keep ? next : end));
    begin = next;
  }
  return Value::list(std::move(lines));
}

int64_t position(const Text& text, const Arguments& a, bool last) {
  const Text& part = a.text(0, "sub");
  a.at_most(1, "find");
  const size_t at = last ? text.view().rfind(part.view()) : text.view().find(part.view());
  if (at == std::string_view::npos) return -1;
  return std::ssize(code_point_offsets(text.view().substr(0, at))) - 1;
}

int64_t occurrences(const Text& text, const Text& part) {
  if (part.empty()) return std::ssize(code_point_offsets(text.view()));
  int64_t count = 0;
  for (size_t at = text.view().find(part.view()); at != std::string_view::npos;
       at = text.view().find(part.view(), at + part.size())) {
    ++count;
  }
  return count;
}

// "{} {0} {name}" and doubled braces.
Value format(const Text& text, const Arguments& a, Budget& budget) {
  Text out;
  size_t automatic = 0;
  for (size_t at = 0; at < text.size();) {
    const char c = text.bytes()[at];
    const bool doubled = at + 1 < text.size() && text.bytes()[at + 1] == c;
    if ((c != '{' && c != '}') || doubled) {
      out.append(text, at, at + 1);
      at += c == '{' || c == '}' ? 2 : 1;
      continue;
    }
    const size_t end = text.bytes().find('}', at);
    if (c == '}' || end == std::string::npos) fail("format: a brace is not closed");
    const std::string name = text.bytes().substr(at + 1, end - at - 1);
    const bool digits = !name.empty() && name.size() < 5 &&
                        name.find_first_not_of("0123456789") == std::string::npos;
    const Value* value = name.empty()
                             ? a.find(automatic++, "")
                             : a.find(digits ? std::stoul(name) : a.positional.size(), name);
    if (!value) fail("format: there is no argument for '{{{}}}'", name);
    const Text shown = to_text(*value);
    budget.spend_text(shown.size());
    out.append(shown);
    at = end + 1;
  }
  return Value(std::move(out));
}

// Python's isdigit() and its like, for ASCII.
std::optional<bool> ascii_class(const Text& text, const std::string& name) {
  int (*is)(int) = nullptr;
  if (name == "isdigit" || name == "isnumeric" || name == "isdecimal") is = std::isdigit;
  if (name == "isalpha") is = std::isalpha;
  if (name == "isalnum") is = std::isalnum;
  if (name == "isspace") is = std::isspace;
  if (!is) return {};
  return !text.empty() &&
         std::ranges::all_of(text.bytes(), [&](unsigned char c) { return is(c) != 0; });
}

std::optional<Value> text_method(const Text& text, const std::string& name, const Arguments& a,
                                 Budget& budget) {
  budget.spend_text(text.size());
  if (name == "strip") return strip(text, a, true, true);
  if (name == "lstrip") return strip(text, a, true, false);
  if (name == "rstrip") return strip(text, a, false, true);
  if (name == "startswith") return Value(has_affix(text, a, true));
  if (name == "endswith") return Value(has_affix(text, a, false));
  if (name == "split") return split(text, a, false, budget);
  if (name == "rsplit") return split(text, a, true, budget);
  if (name == "splitlines") return split_lines(text, a.flag(0, "keepends", false));
  if (name == "replace")
    return replaced(text, a.text(0, "old"), a.text(1, "new"), a.integer(2, "count", -1), budget);
  if (name == "upper") return in_case(text, Case::kUpper);
  if (name == "lower") return in_case(text, Case::kLower);
  if (name == "title") return in_case(text, Case::kTitle);
  if (name == "capitalize") return in_case(text, Case::kCapitalize);
  if (name == "format") return format(text, a, budget);
  if (name == "join") {
    if (!a.find(0, "iterable")) fail("join: the argument is missing");
    return joined(text, elements(*a.find(0, "iterable")), budget);
  }
  if (name == "find" || name == "rfind" || name == "index" || name == "count") {
    budget.spend_search(text.size(), a.text(0, "sub").size());
    if (name == "count") return Value(occurrences(text, a.text(0, "sub")));
    const int64_t at = position(text, a, name == "rfind");
    if (at < 0 && name == "index")
      fail("index: the text does not hold '{}'", a.text(0, "sub").bytes());
    return Value(at);
  }
  if (name == "removeprefix" || name == "removesuffix") {
    const bool front = name == "removeprefix";
    const size_t size = a.text(0, front ? "prefix" : "suffix").size();
    if (!has_affix(text, a, front)) return Value(text);
    return Value(front ? text.slice(size, text.size()) : text.slice(0, text.size() - size));
  }
  if (const auto answer = ascii_class(text, name)) return Value(*answer);
  return {};
}

std::optional<Value> dict_method(const Dict& dict, const std::string& name, const Arguments& a) {
  std::vector<Value> all;
  if (name == "get") {
    if (!a.find(0, "key")) fail("get: the key is missing");
    for (const auto& [key, item] : dict.items) {
      if (equal(key, *a.find(0, "key"))) return item;
    }
    const Value* otherwise = a.find(1, "default");
    return otherwise ? *otherwise : Value(None{});
  }
  for (const auto& [key, item] : dict.items) {
    if (name == "keys") all.push_back(key);
    if (name == "values") all.push_back(item);
    if (name == "items") all.push_back(Value::list({key, item}, true));
  }
  if (name == "keys" || name == "values" || name == "items") return Value::list(std::move(all));
  if (name == "copy") return Value::dict(dict.items);
  return {};
}

std::optional<Value> list_method(const List& list, const std::string& name, const Arguments& a) {
  if (name != "index" && name != "count") return {};
  if (!a.find(0, "value")) fail("{}: the value is missing", name);
  const auto is_it = [&](const Value& item) { return equal(item, *a.find(0, "value")); };
  if (name == "count") return Value(static_cast<int64_t>(std::ranges::count_if(list.items, is_it)));
  const auto found = std::ranges::find_if(list.items, is_it);
  if (found == list.items.end()) fail("index: the list does not hold the value");
  return Value(static_cast<int64_t>(found - list.items.begin()));
}

}  // namespace

Value call_method(const Value& value, const std::string& name, const Arguments& arguments,
                  Budget& budget) {
  std::optional<Value> result;
  if (const auto* undefined = std::get_if<Undefined>(&value.storage())) {
    fail("'{}' is undefined, so it has no '{}'", undefined->name, name);
  }
  if (const Text* text = value.if_text()) result = text_method(*text, name, arguments, budget);
  if (const Dict* dict = value.if_dict()) {
    budget.spend(dict->items.size());
    result = dict_method(*dict, name, arguments);
  }
  if (const List* list = value.if_list()) {
    budget.spend(list->items.size());
    result = list_method(*list, name, arguments);
    if (!result && (name == "append" || name == "extend" || name == "insert" || name == "pop")) {
      fail("{}: lists cannot be changed; write list + [item]", name);
    }
  }
  if (!result) fail("a {} has no method '{}'", value.type_name(), name);
  return *std::move(result);
}

}  // namespace continuo::jinja
