// Arguments, and what filters, methods and subscripts share.
#include "text/jinja/library.h"

#include <algorithm>

#include <utf8proc.h>

#include "core/error.h"

namespace continuo::jinja {

void Budget::spend(size_t steps) {
  if (steps > left_) {
    throw Error(fmt::format("the template does not come to an end within {} steps", kSteps),
                "it loops or copies text without bound");
  }
  left_ -= steps;
}

void Budget::spend_search(size_t bytes, size_t part) {
  spend_text(bytes);
  if (part > 64) spend(bytes / 64 * (part / 64));
}

const Value* Arguments::find(size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  const auto found = std::ranges::find(named, name, &std::pair<std::string, Value>::first);
  return found == named.end() ? nullptr : &found->second;
}

const Text& Arguments::text(size_t index, std::string_view name) const {
  const Value* value = find(index, name);
  if (!value) fail("the argument '{}' is missing", name);
  if (!value->if_text())
    fail("the argument '{}' must be a str, not a {}", name, value->type_name());
  return *value->if_text();
}

int64_t Arguments::integer(size_t index, std::string_view name, int64_t otherwise) const {
  const Value* value = find(index, name);
  if (!value || value->none()) return otherwise;
  const auto number = value->if_int();
  if (!number) fail("the argument '{}' must be an int, not a {}", name, value->type_name());
  return *number;
}

bool Arguments::flag(size_t index, std::string_view name, bool otherwise) const {
  const Value* value = find(index, name);
  return value ? value->truthy() : otherwise;
}

void Arguments::at_most(size_t count, std::string_view of) const {
  if (positional.size() > count) {
    fail("{} takes at most {} arguments, {} given", of, count, positional.size());
  }
}

Value attribute_of(const Value& value, const std::string& name) {
  if (const auto* undefined = std::get_if<Undefined>(&value.storage())) {
    fail("'{}' is undefined, so it has no '{}'", undefined->name, name);
  }
  if (const Dict* dict = value.if_dict()) {
    if (const Value* found = dict->find(name)) return *found;
  }
  if (auto* const* space = std::get_if<Namespace*>(&value.storage())) {
    if (const Value* found = (*space)->find(name)) return *found;
  }
  return Value(Undefined{name});
}

Value element_of(const Value& value, const Value& index) {
  if (const Text* name = index.if_text()) return attribute_of(value, name->bytes());
  if (value.undefined()) return attribute_of(value, to_text(index).bytes());
  const std::string name = to_text(index).bytes();
  if (const Dict* dict = value.if_dict()) {
    for (const auto& [key, item] : dict->items) {
      if (equal(key, index)) return item;
    }
    return Value(Undefined{name});
  }
  const auto number = index.if_int();
  if (!number) return Value(Undefined{name});
  const auto locate = [&](size_t size) -> std::optional<size_t> {
    const int64_t at = *number < 0 ? *number + static_cast<int64_t>(size) : *number;
    if (at < 0 || at >= static_cast<int64_t>(size)) return {};
    return static_cast<size_t>(at);
  };
  if (const List* list = value.if_list()) {
    const auto at = locate(list->items.size());
    return at ? list->items[*at] : Value(Undefined{name});
  }
  if (const Text* text = value.if_text()) {
    const std::vector<size_t> offsets = code_point_offsets(text->view());
    const auto at = locate(offsets.size() - 1);
    return at ? Value(text->slice(offsets[*at], offsets[*at + 1])) : Value(Undefined{name});
  }
  return Value(Undefined{name});
}

Value slice_of(const Value& value, const Value& begin, const Value& end, const Value& step,
               Budget& budget) {
  const Text* text = value.if_text();
  const List* list = value.if_list();
  if (!text && !list) fail("a {} cannot be sliced", value.type_name());
  const std::vector<size_t> offsets =
      text ? code_point_offsets(text->view()) : std::vector<size_t>{};
  const auto size = static_cast<int64_t>(text ? offsets.size() - 1 : list->items.size());
  budget.spend(static_cast<size_t>(size));
  const auto number = [](const Value& part, int64_t otherwise) {
    if (part.none()) return otherwise;
    const auto given = part.if_int();
    if (!given) fail("a slice has a {} for a bound", part.type_name());
    return *given;
  };
  const int64_t stride = number(step, 1);
  if (stride == 0) fail("a slice has the step 0");
  const auto bound = [&](const Value& part, int64_t otherwise) {
    if (part.none()) return otherwise;
    int64_t at = number(part, 0);
    if (at < 0) at = at < -size ? -1 : at + size;
    return std::clamp<int64_t>(at, stride < 0 ? -1 : 0, stride < 0 ? size - 1 : size);
  };
  const int64_t first = bound(begin, stride < 0 ? size - 1 : 0);
  const int64_t last = bound(end, stride < 0 ? -1 : size);
  Text part;
  std::vector<Value> items;
  for (int64_t at = first; stride > 0 ? at < last : at > last;) {
    const auto i = static_cast<size_t>(at);
    if (text) {
      part.append(*text, offsets[i], offsets[i + 1]);
    } else {
      items.push_back(list->items[i]);
    }
    if (stride > size || stride < -size) break;
    at += stride;
  }
  return text ? Value(std::move(part)) : Value::list(std::move(items), list->tuple);
}

Value replaced(const Text& text, const Text& from, const Text& to, int64_t count, Budget& budget) {
  budget.spend_search(text.size(), from.size());
  Text out;
  const auto put = [&] {
    budget.spend_text(to.size());
    out.append(to);
  };
  if (from.empty()) {
    // Python puts it before every character and at the end.
    for (size_t at : code_point_offsets(text.view())) {
      if (count-- != 0) put();
      if (at < text.size()) out.append(text, at, at + code_point_at(text.view(), at).length);
    }
    return Value(std::move(out));
  }
  size_t begin = 0;
  while (count-- != 0) {
    const size_t at = text.view().find(from.view(), begin);
    if (at == std::string_view::npos) break;
    out.append(text, begin, at);
    put();
    begin = at + from.size();
  }
  out.append(text, begin, text.size());
  return Value(std::move(out));
}

Value joined(const Text& separator, const std::vector<Value>& items, Budget& budget) {
  Text out;
  for (size_t i = 0; i < items.size(); ++i) {
    const Text item = to_text(items[i]);
    budget.spend_text(separator.size() + item.size());
    if (i > 0) out.append(separator);
    out.append(item);
  }
  return Value(std::move(out));
}

Value in_case(const Text& text, Case to) {
  Text out;
  bool starts = true;  // of a word, or of the text
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = code_point_at(text.view(), at);
    const auto c = static_cast<utf8proc_int32_t>(code);
    const bool upper = to == Case::kUpper || (starts && to != Case::kLower);
    const auto changed = upper && to != Case::kUpper ? utf8proc_totitle(c)
                         : upper                     ? utf8proc_toupper(c)
                                                     : utf8proc_tolower(c);
    std::string bytes;
    if (changed == c) {
      bytes = text.bytes().substr(at, length);
    } else {
      append_code_point(static_cast<uint32_t>(changed), bytes);
    }
    out.append(bytes, text.origin(at));
    const auto category = utf8proc_category(c);
    const bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    starts = to == Case::kTitle && !letter;
    at += length;
  }
  return Value(std::move(out));
}

}  // namespace continuo::jinja
