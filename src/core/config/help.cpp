// struct → one line per key.
#include <algorithm>

#include <fmt/ranges.h>

#include "core/config/keys.h"
#include "core/config/text.h"

namespace continuo {
namespace {

std::string words(std::string_view first, const std::string& second) {
  return second.empty() ? std::string(first) : fmt::format("{} {}", first, second);
}

class KeyLister final : public FieldVisitor {
 public:
  void field(std::string_view name, bool& value, std::string_view help) override {
    add(name, "true|false", value ? "true" : "false", help);
  }
  void field(std::string_view name, int64_t& value, std::string_view help, Range range) override {
    add(name, words("integer", spell_range(range)), std::to_string(value), help);
  }
  void field(std::string_view name, double& value, std::string_view help, Range range) override {
    add(name, words("number", spell_range(range)), spell_real(value), help);
  }
  void field(std::string_view name, std::string& value, std::string_view help) override {
    add(name, "text", spell_string(value), help);
  }
  void field(std::string_view name, std::optional<int64_t>& value, std::string_view help,
             Range range) override {
    add(name, words("integer", spell_range(range)), value ? std::to_string(*value) : "null", help);
  }
  void field(std::string_view name, std::optional<double>& value, std::string_view help,
             Range range) override {
    add(name, words("number", spell_range(range)), value ? spell_real(*value) : "null", help);
  }
  void field(std::string_view name, std::optional<std::string>& value,
             std::string_view help) override {
    add(name, "text", value ? spell_string(*value) : "null", help);
  }
  void field(std::string_view name, std::vector<int64_t>& value, std::string_view help) override {
    add(name, "integers", fmt::format("[{}]", fmt::join(value, ", ")), help);
  }
  void field(std::string_view name, std::vector<double>& value, std::string_view help) override {
    std::vector<std::string> items;
    for (double item : value) items.push_back(spell_real(item));
    add(name, "numbers", fmt::format("[{}]", fmt::join(items, ", ")), help);
  }
  void field(std::string_view name, std::vector<std::string>& value,
             std::string_view help) override {
    std::vector<std::string> items;
    for (const std::string& item : value) items.push_back(spell_string(item));
    add(name, "texts", fmt::format("[{}]", fmt::join(items, ", ")), help);
  }
  void field(std::string_view name, std::map<std::string, std::string>& value,
             std::string_view help) override {
    add(name, "map of texts", fmt::format("{{{}}}", value.empty() ? "" : "…"), help);
  }
  void field(std::string_view name, std::map<std::string, double>& value,
             std::string_view help) override {
    add(name, "map of numbers", fmt::format("{{{}}}", value.empty() ? "" : "…"), help);
  }
  void field(std::string_view name, ConfigNode& value, std::string_view help) override {
    add(name, "YAML", value.kind == ConfigNode::Kind::kNull ? "null" : "…", help);
  }
  void required() override { lines_[last_].required = true; }

  std::vector<ConfigKey> take() { return std::move(lines_); }

 protected:
  void enumeration(std::string_view name, int& value, std::span<const EnumName> names,
                   std::string_view help) override {
    std::vector<std::string_view> known;
    std::string current;
    for (const EnumName& entry : names) {
      known.push_back(entry.name);
      if (entry.value == value) current = entry.name;
    }
    add(name, fmt::format("{}", fmt::join(known, "|")), current, help);
  }
  bool begin_section(std::string_view name, std::string_view help) override {
    open(join_key(path(), name), help);
    return true;
  }
  void end_section() override { close(); }
  std::optional<size_t> begin_list(std::string_view name, size_t, std::string_view help) override {
    open(join_key(path(), name), help);
    return 1;
  }
  bool begin_item(size_t) override {
    open_.push_back({path() + ".0", last_});
    return true;
  }
  void end_list() override { close(); }

 private:
  struct Open {
    std::string path;
    size_t line;
  };

  std::string path() const { return open_.empty() ? "" : open_.back().path; }
  void open(std::string key, std::string_view help) {
    lines_.push_back({key, "", "", std::string(help), false});
    open_.push_back({std::move(key), lines_.size() - 1});
  }
  void close() {
    last_ = open_.back().line;
    open_.pop_back();
  }
  void add(std::string_view name, std::string type, std::string value, std::string_view help) {
    last_ = lines_.size();
    lines_.push_back(
        {join_key(path(), name), std::move(type), std::move(value), std::string(help), false});
  }

  std::vector<ConfigKey> lines_;
  std::vector<Open> open_;
  size_t last_ = 0;
};

}  // namespace

std::vector<ConfigKey> list_keys(void* config, FieldsFunction fields) {
  KeyLister lister;
  fields(lister, config);
  return lister.take();
}

std::string help_fields(void* config, FieldsFunction fields) {
  const std::vector<ConfigKey> lines = list_keys(config, fields);
  // A single long entry must not push every line to the right.
  constexpr size_t kWidest = 40;
  size_t key_width = 0, type_width = 0;
  for (const ConfigKey& line : lines) {
    if (line.key.size() <= kWidest) key_width = std::max(key_width, line.key.size());
    if (line.type.size() <= kWidest) type_width = std::max(type_width, line.type.size());
  }
  std::string out;
  for (const ConfigKey& line : lines) {
    std::string value = line.type.empty() ? "" : line.required ? "(required)" : "= " + line.value;
    std::string head = fmt::format("{:<{}}  {:<{}}", line.key, key_width, line.type, type_width);
    out += line.type.empty() ? fmt::format("{:<{}}", line.key, key_width) : head + "  " + value;
    out += line.help.empty() ? "\n" : "  " + line.help + "\n";
  }
  return out;
}

}  // namespace continuo
