// Values as text: Python's str(), repr() and json.dumps(). Bytes of strings keep their origin.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "text/jinja/value.h"

namespace continuo::jinja {
namespace {

std::string spell_float(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  std::string spelling = fmt::format("{}", number);
  if (spelling.find_first_of(".e") == std::string::npos) spelling += ".0";
  return spelling;
}

// A string in quotes; `escape` gives what stands for a byte, or nothing for the byte itself.
template <class Escape>
void add_quoted(const Text& text, char quote, Escape escape, Text& out) {
  out.append(std::string_view(&quote, 1), kTemplate);
  size_t begin = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const std::string escaped = escape(text.bytes()[at]);
    if (escaped.empty()) continue;
    out.append(text, begin, at);
    out.append(escaped, text.origin(at));
    begin = at + 1;
  }
  out.append(text, begin, text.size());
  out.append(std::string_view(&quote, 1), kTemplate);
}

void add_repr(const Value& value, Text& out);

void add_text_repr(const Text& text, Text& out) {
  const bool single = text.view().find('\'') != std::string_view::npos &&
                      text.view().find('"') == std::string_view::npos;
  const char quote = single ? '"' : '\'';
  add_quoted(
      text, quote,
      [&](char c) -> std::string {
        if (c == '\n') return "\\n";
        if (c == '\r') return "\\r";
        if (c == '\t') return "\\t";
        if (c == '\\' || c == quote) return {'\\', c};
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7F ? fmt::format("\\x{:02x}", byte) : "";
      },
      out);
}

void add_repr(const Value& value, Text& out) {
  const auto add = [&](std::string_view part) { out.append(part, kTemplate); };
  if (const Text* text = value.if_text()) {
    add_text_repr(*text, out);
  } else if (const List* list = value.if_list()) {
    add(list->tuple ? "(" : "[");
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i > 0) add(", ");
      add_repr(list->items[i], out);
    }
    if (list->tuple && list->items.size() == 1) add(",");
    add(list->tuple ? ")" : "]");
  } else if (const Dict* dict = value.if_dict()) {
    add("{");
    for (size_t i = 0; i < dict->items.size(); ++i) {
      if (i > 0) add(", ");
      add_repr(dict->items[i].first, out);
      add(": ");
      add_repr(dict->items[i].second, out);
    }
    add("}");
  } else if (value.undefined()) {
    add("Undefined");
  } else {
    out.append(to_text(value));
  }
}

// \u1234 for what ASCII does not have, in pairs beyond sixteen bits.
Text in_ascii(const Text& text) {
  Text out;
  for (size_t at = 0; at < text.size();) {
    const auto [code, length] = code_point_at(text.view(), at);
    const int32_t origin = text.origin(at);
    if (code < 0x7F) {
      out.append(text, at, at + length);
    } else if (code < 0x10000) {
      out.append(fmt::format("\\u{:04x}", code), origin);
    } else {
      const uint32_t rest = code - 0x10000;
      out.append(fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF)),
                 origin);
    }
    at += length;
  }
  return out;
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void value(const Value& value, int depth) {
    if (const Text* text = value.if_text()) {
      string(*text);
    } else if (value.none()) {
      add("null");
    } else if (const auto flag = value.if_bool()) {
      add(*flag ? "true" : "false");
    } else if (const auto whole = value.if_int()) {
      add(std::to_string(*whole));
    } else if (const auto number = value.if_number()) {
      add(std::isnan(*number)   ? "NaN"
          : std::isinf(*number) ? (*number > 0 ? "Infinity" : "-Infinity")
                                : spell_float(*number));
    } else if (const List* list = value.if_list()) {
      add("[");
      for (size_t i = 0; i < list->items.size(); ++i) {
        separate(i, depth + 1);
        this->value(list->items[i], depth + 1);
      }
      close(list->items.size(), depth, "]");
    } else if (const Dict* dict = value.if_dict()) {
      object(*dict, depth);
    } else {
      fail("tojson: a {} is not JSON", value.type_name());
    }
  }

  Text take() { return std::move(out_); }

 private:
  void add(std::string_view part) { out_.append(part, kTemplate); }
  void line(int depth) {
    if (style_.indent) add("\n" + std::string(*style_.indent * static_cast<size_t>(depth), ' '));
  }
  void separate(size_t index, int depth) {
    if (index > 0) out_.append(style_.between_items);
    line(depth);
  }
  void close(size_t count, int depth, std::string_view bracket) {
    if (count > 0) line(depth);
    add(bracket);
  }
  void object(const Dict& dict, int depth) {
    std::vector<std::pair<Value, Value>> entries = dict.items;
    if (style_.sort_keys) {
      std::ranges::stable_sort(
          entries, [](const auto& a, const auto& b) { return compare(a.first, b.first) < 0; });
    }
    add("{");
    for (size_t i = 0; i < entries.size(); ++i) {
      separate(i, depth + 1);
      string(entries[i].first.if_text() ? *entries[i].first.if_text()
                                        : to_json(entries[i].first, {}));
      out_.append(style_.behind_keys);
      value(entries[i].second, depth + 1);
    }
    close(entries.size(), depth, "}");
  }
  void string(const Text& text) {
    const auto escaped = [](char c) -> std::string {
      switch (c) {
        case '"':
          return "\\\"";
        case '\\':
          return "\\\\";
        case '\n':
          return "\\n";
        case '\r':
          return "\\r";
        case '\t':
          return "\\t";
        case '\b':
          return "\\b";
        case '\f':
          return "\\f";
        default:
          const auto byte = static_cast<unsigned char>(c);
          return byte < 0x20 ? fmt::format("\\u{:04x}", byte) : "";
      }
    };
    Text quoted;
    add_quoted(text, '"', escaped, quoted);
    out_.append(style_.ensure_ascii ? in_ascii(quoted) : quoted);
  }

  const JsonStyle& style_;
  Text out_;
};

}  // namespace

Text to_text(const Value& value) {
  if (const Text* text = value.if_text()) return *text;
  if (value.undefined()) return {};
  if (value.none()) return Text("None");
  if (const auto flag = value.if_bool()) return Text(*flag ? "True" : "False");
  if (const auto whole = value.if_int()) return Text(std::to_string(*whole));
  if (const auto number = value.if_number()) return Text(spell_float(*number));
  if (value.if_namespace() || value.if_function()) return Text("<" + value.type_name() + ">");
  Text out;
  add_repr(value, out);
  return out;
}

Text to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.value(value, 0);
  return writer.take();
}

}  // namespace continuo::jinja
