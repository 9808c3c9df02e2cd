// The values of a template: what Python has where Jinja runs there. Lists and dictionaries are
// immutable and of bounded depth; only namespaces change, and the interpreter owns those.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/text.h"

namespace continuo::jinja {

inline constexpr size_t kMostNames = 500;  // of a scope or a namespace

class Value;
struct Namespace;
struct Statement;

struct Undefined {
  std::string name;  // for messages
};
struct None {};
// A function of the environment ("raise_exception") or, with `macro`, one of the template.
struct Function {
  std::string name;
  const Statement* macro = nullptr;
};

struct List {
  std::vector<Value> items;
  bool tuple = false;
  int depth = 1;
  size_t weight = 1;
};
struct Dict {
  std::vector<std::pair<Value, Value>> items;  // in order of insertion, keys distinct
  int depth = 1;
  size_t weight = 1;
  const Value* find(std::string_view key) const;
};

class Value {
 public:
  using Storage =
      std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
                   std::shared_ptr<const List>, std::shared_ptr<const Dict>, Namespace*, Function>;
  Value() = default;  // undefined
  Value(None none) : storage_(none) {}
  Value(bool value) : storage_(value) {}
  Value(int64_t value) : storage_(value) {}
  Value(double value) : storage_(value) {}
  Value(Text text) : storage_(std::make_shared<const Text>(std::move(text))) {}
  Value(Undefined value) : storage_(std::move(value)) {}
  Value(Namespace* value) : storage_(value) {}
  Value(Function value) : storage_(std::move(value)) {}
  template <class T>
  Value(T*) = delete;
  static Value text(std::string bytes) { return Value(Text(std::move(bytes))); }
  // Error: nested too deeply, too large.
  static Value list(std::vector<Value> items, bool tuple = false);
  // Later values of a key replace earlier ones. Error: nested too deeply, too large, a key that has
  // no hash.
  static Value dict(std::vector<std::pair<Value, Value>> items);

  const Storage& storage() const { return storage_; }
  bool undefined() const { return std::holds_alternative<Undefined>(storage_); }
  bool none() const { return std::holds_alternative<None>(storage_); }
  const Text* if_text() const { return if_shared<Text>(); }
  const List* if_list() const { return if_shared<List>(); }
  const Dict* if_dict() const { return if_shared<Dict>(); }
  const Namespace* if_namespace() const { return if_plain<Namespace*>().value_or(nullptr); }
  std::optional<bool> if_bool() const { return if_plain<bool>(); }
  std::optional<int64_t> if_int() const;    // bools count, as in Python
  std::optional<double> if_number() const;  // any of the three
  bool is_float() const { return std::holds_alternative<double>(storage_); }
  const Function* if_function() const { return std::get_if<Function>(&storage_); }

  bool truthy() const;
  int depth() const;
  // What walking through all of it costs: values, and 16 bytes of text each.
  size_t weight() const;
  std::string type_name() const;  // "str", "list", …: for messages

 private:
  template <class T>
  const T* if_shared() const {
    const auto* held = std::get_if<std::shared_ptr<const T>>(&storage_);
    return held ? held->get() : nullptr;
  }
  template <class T>
  std::optional<T> if_plain() const {
    const auto* held = std::get_if<T>(&storage_);
    return held ? std::optional<T>(*held) : std::nullopt;
  }

  Storage storage_;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> items;
  Value* find(std::string_view name);
  // Error: a name that begins with "_", too many names.
  void set(const std::string& name, Value value);
};

bool equal(const Value& a, const Value& b);
// −1, 0, 1. Error: values that have no order.
int compare(const Value& a, const Value& b);
// Error: not a container.
bool contains(const Value& container, const Value& item);
// What {{ value }} shows: Python's str().
Text to_text(const Value& value);
// The arguments of Python's json.dumps().
struct JsonStyle {
  std::optional<size_t> indent;
  bool sort_keys = false, ensure_ascii = false;
  Text between_items = Text(", "), behind_keys = Text(": ");
};
// Error: no JSON.
Text to_json(const Value& value, const JsonStyle& style);
// What Python's json.loads() makes of a document; every string, keys too, is of `origin`. Error: no
// JSON, a number beyond 64 bits, nested too deeply, too large.
Value from_json(std::string_view document, int32_t origin);
// The elements of a list, the keys of a dictionary, the characters of a string, none of undefined.
// Error: not iterable.
std::vector<Value> elements(const Value& value);

}  // namespace continuo::jinja
