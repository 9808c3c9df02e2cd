#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace continuo::jinja {
namespace {

constexpr int kDeepest = 60;

constexpr size_t kHeaviest = size_t{1} << 22, kMostKeys = 200, kLongestLoop = size_t{1} << 20;

template <class Container>
void check_bounds(const Container& c) {
  if (c.depth > kDeepest) fail("lists and dictionaries are nested deeper than {} levels", kDeepest);
  if (c.weight > kHeaviest) fail("a list or dictionary is too large");
}

}  // namespace

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : items) {
    const Text* text = name.if_text();
    if (text && text->view() == key) return &value;
  }
  return nullptr;
}

Value* Namespace::find(std::string_view name) {
  const auto found = std::ranges::find(items, name, &std::pair<std::string, Value>::first);
  return found == items.end() ? nullptr : &found->second;
}

void Namespace::set(const std::string& name, Value value) {
  if (Value* known = find(name)) {
    *known = std::move(value);
    return;
  }
  if (name.starts_with('_')) fail("'{}': names of a namespace do not begin with '_'", name);
  if (items.size() >= kMostNames) fail("a namespace of more than {} names", kMostNames);
  items.emplace_back(name, std::move(value));
}

Value Value::list(std::vector<Value> items, bool tuple) {
  List list{std::move(items), tuple, 1};
  for (const Value& item : list.items) {
    list.depth = std::max(list.depth, item.depth() + 1);
    list.weight += item.weight();
  }
  check_bounds(list);
  Value value;
  value.storage_ = std::make_shared<const List>(std::move(list));
  return value;
}

Value Value::dict(std::vector<std::pair<Value, Value>> items) {
  if (items.size() > kMostKeys) fail("a dictionary of more than {} keys", kMostKeys);
  Dict dict;
  for (auto& [key, item] : items) {
    if (key.if_dict() || (key.if_list() && !key.if_list()->tuple)) {
      fail("a {} cannot be the key of a dictionary", key.type_name());
    }
    dict.weight += key.weight() + item.weight();
    dict.depth = std::max({dict.depth, key.depth() + 1, item.depth() + 1});
    const auto same = std::ranges::find_if(
        dict.items, [&, &name = key](const auto& entry) { return equal(entry.first, name); });
    if (same != dict.items.end()) {
      same->second = std::move(item);
    } else {
      dict.items.emplace_back(std::move(key), std::move(item));
    }
  }
  check_bounds(dict);
  Value value;
  value.storage_ = std::make_shared<const Dict>(std::move(dict));
  return value;
}

std::optional<int64_t> Value::if_int() const {
  if (const auto flag = if_bool()) return *flag;
  return if_plain<int64_t>();
}

std::optional<double> Value::if_number() const {
  if (const auto whole = if_int()) return static_cast<double>(*whole);
  return if_plain<double>();
}

bool Value::truthy() const {
  if (undefined() || none()) return false;
  if (const auto number = if_number()) return *number != 0;
  if (const Text* text = if_text()) return !text->empty();
  if (const List* list = if_list()) return !list->items.empty();
  if (const Dict* dict = if_dict()) return !dict->items.empty();
  return true;
}

int Value::depth() const {
  if (const List* list = if_list()) return list->depth;
  if (const Dict* dict = if_dict()) return dict->depth;
  return 0;
}

size_t Value::weight() const {
  if (const Text* text = if_text()) return text->size() / 16 + 1;
  if (const List* list = if_list()) return list->weight;
  if (const Dict* dict = if_dict()) return dict->weight;
  return 1;
}

std::string Value::type_name() const {
  static constexpr const char* kNames[] = {"undefined", "None", "bool", "int",       "float",
                                           "str",       "list", "dict", "namespace", "function"};
  if (const List* list = if_list(); list && list->tuple) return "tuple";
  return kNames[storage_.index()];
}

bool equal(const Value& a, const Value& b) {
  if (a.undefined() || b.undefined()) return a.undefined() && b.undefined();
  if (a.none() || b.none()) return a.none() && b.none();
  if (const auto x = a.if_int()) {
    if (const auto y = b.if_int()) return *x == *y;
  }
  if (const auto x = a.if_number()) {
    const auto y = b.if_number();
    return y && *x == *y;
  }
  if (const Text* x = a.if_text()) return b.if_text() && x->bytes() == b.if_text()->bytes();
  if (const List* x = a.if_list()) {
    const List* y = b.if_list();
    return y && x->tuple == y->tuple && std::ranges::equal(x->items, y->items, equal);
  }
  if (const Dict* x = a.if_dict()) {
    const Dict* y = b.if_dict();
    if (!y || x->items.size() != y->items.size()) return false;
    return std::ranges::all_of(x->items, [&](const auto& entry) {
      return std::ranges::any_of(y->items, [&](const auto& other) {
        return equal(entry.first, other.first) && equal(entry.second, other.second);
      });
    });
  }
  if (const Function* x = a.if_function()) {
    const Function* y = b.if_function();
    return y && x->name == y->name && x->macro == y->macro;
  }
  return a.if_namespace() && a.if_namespace() == b.if_namespace();
}

int compare(const Value& a, const Value& b) {
  const auto order = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
  if (const auto x = a.if_int()) {
    if (const auto y = b.if_int()) return order(*x, *y);
  }
  if (const auto x = a.if_number()) {
    if (const auto y = b.if_number()) return order(*x, *y);
  }
  if (a.if_text() && b.if_text()) return order(a.if_text()->bytes(), b.if_text()->bytes());
  if (a.if_list() && b.if_list()) {
    const auto &x = a.if_list()->items, &y = b.if_list()->items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(x[i], y[i])) return compare(x[i], y[i]);
    }
    return order(x.size(), y.size());
  }
  fail("a {} and a {} have no order", a.type_name(), b.type_name());
}

bool contains(const Value& container, const Value& item) {
  if (const Text* text = container.if_text()) {
    const Text* part = item.if_text();
    if (!part) fail("'in': a string contains strings, not a {}", item.type_name());
    return text->view().find(part->view()) != std::string_view::npos;
  }
  const std::vector<Value> all = elements(container);
  return std::ranges::any_of(all, [&](const Value& each) { return equal(each, item); });
}

std::vector<Value> elements(const Value& value) {
  if (value.undefined()) return {};
  if (const List* list = value.if_list()) return list->items;
  std::vector<Value> all;
  if (const Dict* dict = value.if_dict()) {
    for (const auto& [key, item] : dict->items) all.push_back(key);
    return all;
  }
  if (const Text* text = value.if_text()) {
    if (text->size() > kLongestLoop)
      fail("a text of {} bytes is too long to loop over", text->size());
    const std::vector<size_t> offsets = code_point_offsets(text->view());
    for (size_t i = 0; i + 1 < offsets.size(); ++i) {
      all.emplace_back(text->slice(offsets[i], offsets[i + 1]));
    }
    return all;
  }
  fail("a {} is nothing to loop over", value.type_name());
}

}  // namespace continuo::jinja
