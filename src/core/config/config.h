// YAML ⇄ structs. A config struct is described once, by a function found through argument-dependent
// lookup:
//
//   struct OptimizerConfig { double lr = 1e-4; Decay decay = Decay::kCosine; };
//   void fields(FieldVisitor& v, OptimizerConfig& c) {
//     v.field("lr", c.lr, "Peak learning rate.", Range::positive());
//     v.field("decay", c.decay, "Shape of the decay.");
//   }
//
// That one function serves loading, defaults, `key=value` overrides, dumping with the origin of
// every value, help text, and unknown-key errors with a "did you mean". All faults are collected
// before anything runs. Knows nothing about what is configured.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.h"

namespace continuo {

// Faults found while loading; thrown together as one Error.
class Problems {
 public:
  void add(const Location& where, const std::string& message, const std::string& hint = {});
  bool empty() const { return entries_.empty(); }
  // Throws one Error that lists every fault in file order; returns when there is none.
  void raise() const;

 private:
  struct Entry {
    Location where;
    std::string message, hint;
  };
  std::vector<Entry> entries_;
};

// A YAML value together with where it was written. Maps keep the order of the file.
class ConfigNode {
 public:
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string scalar;             // kScalar: the text as written
  bool quoted = false;            // kScalar: written in quotes (always a string)
  std::vector<ConfigNode> items;  // kList
  std::vector<std::pair<std::string, ConfigNode>> fields;  // kMap
  Location where;           // of the value; file is the assignment itself ("lr=3e-4") for overrides
  bool overridden = false;  // written by an override, not in a file

  const ConfigNode* find(std::string_view key) const;  // nullptr when absent or not a map
  ConfigNode* find(std::string_view key);
};

// Reads one YAML file and what it `extends:` (a path or list of paths, relative to the file; maps
// merge key by key, everything else is replaced). Errors: unreadable, bad YAML, duplicate key,
// cycle.
ConfigNode load_yaml(const std::filesystem::path& path);
ConfigNode parse_yaml(std::string_view text, const std::string& name);

// Applies "a.b.c=value" (value is YAML: `x=3`, `x=[1, 2]`, `x={a: 1}`); what was there is replaced,
// not merged. List items are addressed by index (`sources.0.path=…`; the index after the last
// appends); a key with dots in it is quoted
// (`bias."a.b"=1`). Creates missing maps. Throws Error::usage on a malformed override.
void apply_override(ConfigNode& root, std::string_view assignment);

// Closed intervals for numbers; `open_low` excludes the lower end.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool open_low = false;

  static Range at_least(double x) { return {.low = x}; }
  static Range positive() { return {.low = 0, .open_low = true}; }
  static Range between(double a, double b) { return {.low = a, .high = b}; }
};

// Names of an enum's values. Each enum used in a config has, found by ADL:
//   std::span<const EnumName> enum_names(Decay);
struct EnumName {
  std::string_view name;
  int value;
};

// Visits the fields of a config struct; loading, dumping and help are three implementations.
class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  virtual void field(std::string_view name, bool& value, std::string_view help) = 0;
  virtual void field(std::string_view name, int64_t& value, std::string_view help,
                     Range range = {}) = 0;
  virtual void field(std::string_view name, double& value, std::string_view help,
                     Range range = {}) = 0;
  virtual void field(std::string_view name, std::string& value, std::string_view help) = 0;
  // `null` or absent = not set.
  virtual void field(std::string_view name, std::optional<int64_t>& value, std::string_view help,
                     Range range = {}) = 0;
  virtual void field(std::string_view name, std::optional<double>& value, std::string_view help,
                     Range range = {}) = 0;
  virtual void field(std::string_view name, std::optional<std::string>& value,
                     std::string_view help) = 0;
  // A single scalar is accepted as a list of one.
  virtual void field(std::string_view name, std::vector<int64_t>& value, std::string_view help) = 0;
  virtual void field(std::string_view name, std::vector<double>& value, std::string_view help) = 0;
  virtual void field(std::string_view name, std::vector<std::string>& value,
                     std::string_view help) = 0;
  virtual void field(std::string_view name, std::map<std::string, std::string>& value,
                     std::string_view help) = 0;
  virtual void field(std::string_view name, std::map<std::string, double>& value,
                     std::string_view help) = 0;
  // A subtree that its owner reads later (sampler stages); kept as it stands.
  virtual void field(std::string_view name, ConfigNode& value, std::string_view help) = 0;

  template <class E>
    requires std::is_enum_v<E>
  void field(std::string_view name, E& value, std::string_view help) {
    int number = static_cast<int>(value);
    enumeration(name, number, enum_names(E{}), help);
    value = static_cast<E>(number);
  }

  // A nested struct.
  template <class S>
  void section(std::string_view name, S& value, std::string_view help) {
    if (begin_section(name, help)) fields(*this, value);
    end_section();
  }

  // A list of structs. Elements start from S's defaults.
  template <class S>
  void list(std::string_view name, std::vector<S>& value, std::string_view help) {
    if (auto count = begin_list(name, value.size(), help)) value.assign(*count, S{});
    for (size_t i = 0; i < value.size(); ++i) {
      if (begin_item(i)) fields(*this, value[i]);
      end_section();
    }
    end_list();
  }

  // Marks the field named last as one that must be given.
  virtual void required() {}
  // Marks the text field named last as one that is not dumped where it is empty: a field that came
  // after the first release leaves the dumps of older files, and what is hashed of them, as they
  // were.
  virtual void omit_when_empty() {}

 protected:
  virtual void enumeration(std::string_view name, int& value, std::span<const EnumName> names,
                           std::string_view help) = 0;
  virtual bool begin_section(std::string_view name, std::string_view help) = 0;
  virtual void end_section() = 0;
  // The number of fresh elements to start with, or nothing to visit the list as it is.
  virtual std::optional<size_t> begin_list(std::string_view name, size_t size,
                                           std::string_view help) = 0;
  virtual bool begin_item(size_t index) = 0;
  virtual void end_list() = 0;
};

// Type-erased engines behind the templates below.
using FieldsFunction = void (*)(FieldVisitor&, void*);
void load_fields(const ConfigNode& root, void* config, FieldsFunction fields, Problems& problems,
                 std::string_view prefix);
std::string dump_fields(void* config, FieldsFunction fields, const ConfigNode* origins);
std::string help_fields(void* config, FieldsFunction fields);

template <class C>
void visit_fields(FieldVisitor& v, void* config) {
  fields(v, *static_cast<C*>(config));
}

// Reads `root` over the defaults of `config`. Unknown keys, wrong types and out-of-range values go
// to `problems`, and the default stays. `prefix` is the dotted path of `root` where it is a subtree
// of a larger document.
template <class C>
void load_config(const ConfigNode& root, C& config, Problems& problems,
                 std::string_view prefix = {}) {
  load_fields(root, &config, &visit_fields<C>, problems, prefix);
}

// As YAML that load_yaml reads back to an equal struct. With `origins` every value carries a
// comment that says where it came from: `# config.yaml:12`, `# key=value`, `# default`.
template <class C>
std::string dump_config(C config, const ConfigNode* origins = nullptr) {
  return dump_fields(&config, &visit_fields<C>, origins);
}

// One line per key: name, type, default, allowed values, help.
template <class C>
std::string config_help(C defaults = {}) {
  return help_fields(&defaults, &visit_fields<C>);
}

// A free subtree as YAML that parse_yaml reads back.
std::string dump_node(const ConfigNode& node);

// The node of a dotted key; nullptr when it is not written.
const ConfigNode* find_path(const ConfigNode& root, std::string_view dotted_key);

// The location of a dotted key in `root`, for faults that a validator finds ("optimizer.lr"); falls
// back to the nearest parent that is written.
Location locate(const ConfigNode& root, std::string_view dotted_key);

// A path that the value of a dotted key names: relative to the file where the key is written; as it
// stands when it is absolute, a default, or came from an override (relative to the working
// directory).
std::filesystem::path resolve_path(const ConfigNode& root, std::string_view dotted_key,
                                   const std::string& value);

}  // namespace continuo
