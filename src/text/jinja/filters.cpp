// The filters of templates.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/suggest.h"
#include "text/jinja/library.h"

namespace continuo::jinja {
namespace {

using Filter = Value (*)(const Value&, const Arguments&, Budget&);

Value trim(const Value& value, const Arguments& a, Budget&) {
  const Text text = to_text(value);
  const Value* chars = a.find(0, "chars");
  const Bounds bounds = strip_bounds(
      text.view(), true, true, chars && !chars->none() ? &a.text(0, "chars").bytes() : nullptr);
  return Value(text.slice(bounds.begin, bounds.end));
}

Value length(const Value& value, const Arguments&, Budget&) {
  if (const Text* text = value.if_text()) {
    return Value(std::ssize(code_point_offsets(text->view())) - 1);
  }
  if (const List* list = value.if_list()) return Value(std::ssize(list->items));
  if (const Dict* dict = value.if_dict()) return Value(std::ssize(dict->items));
  if (value.undefined()) return Value(int64_t{0});
  fail("length: a {} has none", value.type_name());
}

Value json(const Value& value, const Arguments& a, Budget& budget) {
  JsonStyle style;
  style.ensure_ascii = a.flag(0, "ensure_ascii", false);
  style.sort_keys = a.flag(3, "sort_keys", false);
  if (const Value* indent = a.find(1, "indent"); indent && !indent->none()) {
    const int64_t width = std::max<int64_t>(a.integer(1, "indent", 0), 0);
    if (width > 16) fail("tojson: the indent {} is too large", width);
    style.indent = static_cast<size_t>(width);
    style.between_items = Text(",");
  }
  if (const Value* separators = a.find(2, "separators"); separators && !separators->none()) {
    const List* pair = separators->if_list();
    if (!pair || pair->items.size() != 2) fail("tojson: separators are two strings");
    style.between_items = to_text(pair->items[0]);
    style.behind_keys = to_text(pair->items[1]);
    budget.spend(value.weight() * (pair->weight + 1));
  }
  return Value(to_json(value, style));
}

Value otherwise(const Value& value, const Arguments& a, Budget&) {
  const bool use = value.undefined() || (a.flag(1, "boolean", false) && !value.truthy());
  if (!use) return value;
  const Value* given = a.find(0, "default_value");
  return given ? *given : Value::text("");
}

// The member of an item that "a.b" names.
Value member(Value value, const std::string& path) {
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    int64_t index = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool whole =
        !name.empty() && parsed.ec == std::errc{} && parsed.ptr == name.data() + name.size();
    value = whole ? element_of(value, Value(index)) : attribute_of(value, name);
    begin = end + 1;
  }
  return value;
}

Value join(const Value& value, const Arguments& a, Budget& budget) {
  std::vector<Value> items = elements(value);
  const Value* separator = a.find(0, "d");
  if (const Value* path = a.find(1, "attribute"); path && !path->none()) {
    for (Value& item : items) item = member(item, to_text(*path).bytes());
  }
  return joined(separator ? to_text(*separator) : Text(), items, budget);
}

Value replace(const Value& value, const Arguments& a, Budget& budget) {
  const Text text = to_text(value);
  if (!a.find(0, "old") || !a.find(1, "new")) fail("replace: needs what to replace, and by what");
  return replaced(text, to_text(*a.find(0, "old")), to_text(*a.find(1, "new")),
                  a.integer(2, "count", -1), budget);
}

Value first(const Value& value, const Arguments&, Budget&) {
  std::vector<Value> items = elements(value);
  return items.empty() ? Value(Undefined{"first"}) : items.front();
}
Value last(const Value& value, const Arguments&, Budget&) {
  std::vector<Value> items = elements(value);
  return items.empty() ? Value(Undefined{"last"}) : items.back();
}
Value list(const Value& value, const Arguments&, Budget&) { return Value::list(elements(value)); }

Value reverse(const Value& value, const Arguments&, Budget& budget) {
  if (value.if_text() || (value.if_list())) {
    return slice_of(value, Value(None{}), Value(None{}), Value(int64_t{-1}), budget);
  }
  std::vector<Value> items = elements(value);
  std::ranges::reverse(items);
  return Value::list(std::move(items));
}

Arguments rest(const Arguments& a, size_t from) {
  Arguments others;
  for (size_t i = from; i < a.positional.size(); ++i) others.positional.push_back(a.positional[i]);
  return others;
}

Value map(const Value& value, const Arguments& a, Budget& budget) {
  std::vector<Value> items = elements(value);
  budget.spend(items.size());
  const Value* path = a.find(~size_t{0}, "attribute");
  const Value* fallback = a.find(~size_t{0}, "default");
  for (Value& item : items) {
    if (path) {
      item = member(item, to_text(*path).bytes());
      if (item.undefined() && fallback) item = *fallback;
    } else {
      item = apply_filter(a.text(0, "filter").bytes(), item, rest(a, 1), budget);
    }
  }
  return Value::list(std::move(items));
}

Value chosen(const Value& value, const Arguments& a, Budget& budget, bool by_member, bool keep) {
  std::vector<Value> kept;
  size_t weight = 1;
  for (const Value& argument : a.positional) weight += argument.weight();
  for (const Value& item : elements(value)) {
    budget.spend(weight);
    const Value subject = by_member ? member(item, a.text(0, "attribute").bytes()) : item;
    const size_t at = by_member ? 1 : 0;
    const bool passes = a.positional.size() > at
                            ? apply_test(a.text(at, "test").bytes(), subject, rest(a, at + 1))
                            : subject.truthy();
    if (passes == keep) kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

Value items(const Value& value, const Arguments& a, Budget& budget) {
  if (value.undefined()) return Value::list({});
  if (!value.if_dict()) fail("items: needs a dict, not a {}", value.type_name());
  return call_method(value, "items", a, budget);
}

// For comparisons without letter case, as Jinja sorts.
Value sort_key(const Value& value, bool case_sensitive) {
  return value.if_text() && !case_sensitive ? in_case(*value.if_text(), Case::kLower) : value;
}

Value dictsort(const Value& value, const Arguments& a, Budget& budget) {
  std::vector<Value> pairs = elements(items(value, {}, budget));
  const bool sensitive = a.flag(0, "case_sensitive", false);
  const Value* by = a.find(1, "by");
  const size_t part = by && to_text(*by).view() == "value" ? 1 : 0;
  const auto key = [&](const Value& pair) {
    return sort_key(pair.if_list()->items[part], sensitive);
  };
  std::ranges::stable_sort(pairs, [&](const Value& x, const Value& y) {
    budget.spend(x.weight() + y.weight());
    return compare(key(x), key(y)) < 0;
  });
  if (a.flag(2, "reverse", false)) std::ranges::reverse(pairs);
  return Value::list(std::move(pairs));
}

Value sort(const Value& value, const Arguments& a, Budget& budget) {
  std::vector<Value> sorted = elements(value);
  const bool down = a.flag(0, "reverse", false), sensitive = a.flag(1, "case_sensitive", false);
  const Value* path = a.find(2, "attribute");
  const auto key = [&](const Value& item) {
    return sort_key(path && !path->none() ? member(item, to_text(*path).bytes()) : item, sensitive);
  };
  std::ranges::stable_sort(sorted, [&](const Value& x, const Value& y) {
    budget.spend(x.weight() + y.weight());
    return down ? compare(key(y), key(x)) < 0 : compare(key(x), key(y)) < 0;
  });
  return Value::list(std::move(sorted));
}

Value unique(const Value& value, const Arguments& a, Budget& budget) {
  std::vector<Value> kept;
  for (const Value& item : elements(value)) {
    budget.spend((kept.size() + 1) * item.weight());
    const Value key = sort_key(item, a.flag(0, "case_sensitive", false));
    const auto same = [&](const Value& other) {
      return equal(sort_key(other, a.flag(0, "case_sensitive", false)), key);
    };
    if (std::ranges::none_of(kept, same)) kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

Value extreme(const Value& value, int sign) {
  std::vector<Value> all = elements(value);
  if (all.empty()) return Value(Undefined{"min or max of nothing"});
  Value best = all[0];
  for (const Value& each : all) {
    if (compare(sort_key(each, false), sort_key(best, false)) * sign > 0) best = each;
  }
  return best;
}

Value integer(const Value& value, const Arguments& a, Budget&) {
  if (const auto whole = value.if_int()) return Value(*whole);
  if (const auto real = value.if_number(); real && std::abs(*real) < 9e18) {
    return Value(static_cast<int64_t>(*real));
  }
  if (const Text* text = value.if_text()) {
    const Bounds bounds = strip_bounds(text->view(), true, true, nullptr);
    std::string digits = text->bytes().substr(bounds.begin, bounds.end - bounds.begin);
    if (digits.starts_with('+')) digits.erase(0, 1);
    double real = 0;
    int64_t whole = 0;
    const char* end = digits.data() + digits.size();
    const auto as_whole = std::from_chars(digits.data(), end, whole);
    if (!digits.empty() && as_whole.ec == std::errc{} && as_whole.ptr == end) return Value(whole);
    const auto as_real = std::from_chars(digits.data(), end, real);
    if (!digits.empty() && as_real.ec == std::errc{} && as_real.ptr == end &&
        std::abs(real) < 9e18) {
      return Value(static_cast<int64_t>(real));
    }
  }
  return Value(a.integer(0, "default", 0));
}

Value real(const Value& value, const Arguments& a, Budget&) {
  if (const auto number = value.if_number()) return Value(*number);
  const Value* given = a.find(0, "default");
  double number = given ? given->if_number().value_or(0) : 0;
  if (const Text* text = value.if_text()) {
    double parsed = 0;
    const char* end = text->bytes().data() + text->size();
    const auto result = std::from_chars(text->bytes().data(), end, parsed);
    if (!text->empty() && result.ec == std::errc{} && result.ptr == end) number = parsed;
  }
  return Value(number);
}

Value absolute(const Value& value, const Arguments&, Budget&) {
  if (const auto whole = value.if_int(); whole && *whole != INT64_MIN)
    return Value(std::abs(*whole));
  if (const auto number = value.if_number()) return Value(std::abs(*number));
  fail("abs: a {} is no number", value.type_name());
}

Value indent(const Value& value, const Arguments& a, Budget& budget) {
  const Value* width = a.find(0, "width");
  const int64_t count = width && width->if_int() ? *width->if_int() : 4;
  const Text margin =
      width && width->if_text()
          ? *width->if_text()
          : Text(std::string(static_cast<size_t>(std::clamp<int64_t>(count, 0, 64)), ' '));
  const bool first_too = a.flag(1, "first", false), blank_too = a.flag(2, "blank", false);
  const Text text = to_text(value);
  Text out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.bytes().find('\n', begin), text.size());
    if (begin == 0 ? first_too : blank_too || end > begin) {
      budget.spend_text(margin.size());
      out.append(margin);
    }
    out.append(text, begin, std::min(end + 1, text.size()));
    begin = end + 1;
  }
  return Value(std::move(out));
}

struct NamedFilter {
  std::string_view name;
  Filter apply;
  bool shallow = false;  // looks at no more than the items themselves
};
constexpr NamedFilter kFilters[] = {
    {"trim", trim},
    {"length", length, true},
    {"count", length, true},
    {"tojson", json},
    {"default", otherwise, true},
    {"d", otherwise, true},
    {"join", join},
    {"replace", replace},
    {"first", first, true},
    {"last", last, true},
    {"list", list, true},
    {"reverse", reverse, true},
    {"map", map, true},
    {"items", items, true},
    {"dictsort", dictsort},
    {"sort", sort},
    {"unique", unique},
    {"int", integer},
    {"float", real},
    {"abs", absolute},
    {"indent", indent},
    {"upper",
     [](const Value& v, const Arguments&, Budget&) { return in_case(to_text(v), Case::kUpper); }},
    {"lower",
     [](const Value& v, const Arguments&, Budget&) { return in_case(to_text(v), Case::kLower); }},
    {"title",
     [](const Value& v, const Arguments&, Budget&) { return in_case(to_text(v), Case::kTitle); }},
    {"capitalize", [](const Value& v, const Arguments&,
                      Budget&) { return in_case(to_text(v), Case::kCapitalize); }},
    {"string", [](const Value& v, const Arguments&, Budget&) { return Value(to_text(v)); }},
    {"safe", [](const Value& v, const Arguments&, Budget&) { return Value(to_text(v)); }},
    {"select",
     [](const Value& v, const Arguments& a, Budget& b) { return chosen(v, a, b, false, true); },
     true},
    {"reject",
     [](const Value& v, const Arguments& a, Budget& b) { return chosen(v, a, b, false, false); },
     true},
    {"selectattr",
     [](const Value& v, const Arguments& a, Budget& b) { return chosen(v, a, b, true, true); },
     true},
    {"rejectattr",
     [](const Value& v, const Arguments& a, Budget& b) { return chosen(v, a, b, true, false); },
     true},
    {"min", [](const Value& v, const Arguments&, Budget&) { return extreme(v, -1); }},
    {"max", [](const Value& v, const Arguments&, Budget&) { return extreme(v, 1); }},
    {"attr", [](const Value& v, const Arguments& a,
                Budget&) { return attribute_of(v, a.text(0, "name").bytes()); }},
};

}  // namespace

Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments,
                   Budget& budget) {
  const auto* found = std::ranges::find(kFilters, name, &NamedFilter::name);
  if (found == std::end(kFilters)) {
    std::vector<std::string> names;
    for (const NamedFilter& each : kFilters) names.emplace_back(each.name);
    throw Error(fmt::format("there is no filter '{}'", name), did_you_mean(name, names));
  }
  const List* all = value.if_list();
  budget.spend(all && found->shallow ? all->items.size() + 1 : value.weight());
  return found->apply(value, arguments, budget);
}

}  // namespace continuo::jinja
