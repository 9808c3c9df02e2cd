// struct → YAML, with the origin of every value.
#include <algorithm>

#include <fmt/ranges.h>

#include "core/config/config.h"
#include "core/config/text.h"

namespace continuo {
namespace {

using Kind = ConfigNode::Kind;

// The same shape as a tree: structs, then text in one place.
class Dumper final : public FieldVisitor {
 public:
  void field(std::string_view name, bool& value, std::string_view) override {
    add(name, plain(value ? "true" : "false"));
  }
  void field(std::string_view name, int64_t& value, std::string_view, Range) override {
    add(name, plain(std::to_string(value)));
  }
  void field(std::string_view name, double& value, std::string_view, Range) override {
    add(name, plain(spell_real(value)));
  }
  void field(std::string_view name, std::string& value, std::string_view) override {
    add(name, text(value));
  }
  void field(std::string_view name, std::optional<int64_t>& value, std::string_view,
             Range) override {
    add(name, value ? plain(std::to_string(*value)) : ConfigNode{});
  }
  void field(std::string_view name, std::optional<double>& value, std::string_view,
             Range) override {
    add(name, value ? plain(spell_real(*value)) : ConfigNode{});
  }
  void field(std::string_view name, std::optional<std::string>& value, std::string_view) override {
    add(name, value ? text(*value) : ConfigNode{});
  }
  void field(std::string_view name, std::vector<int64_t>& value, std::string_view) override {
    add_list(name, value, [](int64_t item) { return plain(std::to_string(item)); });
  }
  void field(std::string_view name, std::vector<double>& value, std::string_view) override {
    add_list(name, value, [](double item) { return plain(spell_real(item)); });
  }
  void field(std::string_view name, std::vector<std::string>& value, std::string_view) override {
    add_list(name, value, [](const std::string& item) { return text(item); });
  }
  void field(std::string_view name, std::map<std::string, std::string>& value,
             std::string_view) override {
    add_map(name, value, [](const std::string& item) { return text(item); });
  }
  void field(std::string_view name, std::map<std::string, double>& value,
             std::string_view) override {
    add_map(name, value, [](double item) { return plain(spell_real(item)); });
  }
  void field(std::string_view name, ConfigNode& value, std::string_view) override {
    add(name, value);
  }

  void omit_when_empty() override {
    auto& fields = open_.back().fields;
    const ConfigNode& last = fields.back().second;
    if (last.kind == Kind::kScalar && last.scalar.empty()) fields.pop_back();
  }

  ConfigNode take() && { return std::move(open_.front()); }

 protected:
  void enumeration(std::string_view name, int& value, std::span<const EnumName> names,
                   std::string_view) override {
    auto it = std::find_if(names.begin(), names.end(),
                           [&](const EnumName& entry) { return entry.value == value; });
    if (it == names.end()) fail("{}: the value {} has no name", name, value);
    add(name, plain(std::string(it->name)));
  }
  bool begin_section(std::string_view name, std::string_view) override {
    names_.emplace_back(name);
    open_.push_back(map());
    return true;
  }
  void end_section() override {
    ConfigNode section = std::move(open_.back());
    open_.pop_back();
    std::string name = std::move(names_.back());
    names_.pop_back();
    if (open_.back().kind == Kind::kList) {
      open_.back().items.push_back(std::move(section));
    } else {
      add(name, std::move(section));
    }
  }
  std::optional<size_t> begin_list(std::string_view name, size_t, std::string_view) override {
    names_.emplace_back(name);
    open_.emplace_back().kind = Kind::kList;
    return std::nullopt;
  }
  bool begin_item(size_t) override { return begin_section("", ""); }
  void end_list() override { end_section(); }

 private:
  static ConfigNode plain(std::string spelling) {
    ConfigNode node;
    node.kind = Kind::kScalar;
    node.scalar = std::move(spelling);
    return node;
  }
  static ConfigNode text(const std::string& value) {
    ConfigNode node = plain(value);
    node.quoted = true;
    return node;
  }
  static ConfigNode map() {
    ConfigNode node;
    node.kind = Kind::kMap;
    return node;
  }

  void add(std::string_view name, ConfigNode value) {
    open_.back().fields.emplace_back(std::string(name), std::move(value));
  }
  template <class T, class Make>
  void add_list(std::string_view name, const std::vector<T>& values, Make make) {
    ConfigNode list;
    list.kind = Kind::kList;
    for (const T& value : values) list.items.push_back(make(value));
    add(name, std::move(list));
  }
  template <class T, class Make>
  void add_map(std::string_view name, const std::map<std::string, T>& values, Make make) {
    ConfigNode entries = map();
    for (const auto& [key, value] : values) entries.fields.emplace_back(key, make(value));
    add(name, std::move(entries));
  }

  std::vector<ConfigNode> open_{map()};
  std::vector<std::string> names_;
};

class Writer {
 public:
  explicit Writer(bool with_origins) : with_origins_(with_origins) {}

  // `origin` is the same place of the tree that was loaded, nullptr where nothing is written.
  void fields(const ConfigNode& map, const ConfigNode* origin, int indent) {
    for (const auto& [key, value] : map.fields) {
      out_ += fmt::format("{:{}}{}:", "", indent, spell_string(key));
      entry(value, origin ? child_of(*origin, key) : nullptr, indent);
    }
  }

  void items(const ConfigNode& list, const ConfigNode* origin, int indent) {
    for (size_t i = 0; i < list.items.size(); ++i) {
      const ConfigNode& item = list.items[i];
      const ConfigNode* from = origin ? child_of(*origin, std::to_string(i)) : nullptr;
      out_ += fmt::format("{:{}}-", "", indent);
      if (item.kind == Kind::kMap && !item.fields.empty()) {
        // The first key stands on the line of the dash.
        size_t start = out_.size();
        fields(item, from, indent + 2);
        out_.erase(start, static_cast<size_t>(indent) + 1);
      } else {
        entry(item, from, indent);
      }
    }
  }

  // What follows "key:" or "-".
  void entry(const ConfigNode& value, const ConfigNode* origin, int indent) {
    if (value.kind == Kind::kMap && !value.fields.empty()) {
      out_ += "\n";
      fields(value, origin, indent + 2);
    } else if (value.kind == Kind::kList && !is_flat(value)) {
      out_ += "\n";
      items(value, origin, indent + 2);
    } else {
      out_ += fmt::format(" {}{}\n", flat(value), comment(origin));
    }
  }

  static std::string flat(const ConfigNode& value) {
    if (value.kind == Kind::kMap) return "{}";
    if (value.kind != Kind::kList) return spell_scalar(value);
    std::vector<std::string> items;
    for (const ConfigNode& item : value.items) items.push_back(flat(item));
    return fmt::format("[{}]", fmt::join(items, ", "));
  }

  std::string take() && { return std::move(out_); }

 private:
  static bool is_flat(const ConfigNode& list) {
    return std::all_of(list.items.begin(), list.items.end(), [](const ConfigNode& item) {
      return item.kind == Kind::kScalar || item.kind == Kind::kNull;
    });
  }

  std::string comment(const ConfigNode* origin) const {
    if (!with_origins_) return {};
    if (!origin || !origin->where.known()) return "  # default";
    std::string place = origin->where.file;
    if (origin->where.line > 0) place += fmt::format(":{}", origin->where.line);
    // An override may hold anything; a comment ends with its line.
    for (char& c : place) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    }
    return fmt::format("  # {}", place);
  }

  bool with_origins_;
  std::string out_;
};

std::string write(const ConfigNode& tree, const ConfigNode* origins) {
  Writer writer(origins != nullptr);
  if (tree.kind == Kind::kMap && !tree.fields.empty()) {
    writer.fields(tree, origins, 0);
  } else if (tree.kind == Kind::kList && !tree.items.empty()) {
    writer.items(tree, origins, 0);
  } else {
    return Writer::flat(tree) + "\n";
  }
  return std::move(writer).take();
}

}  // namespace

std::string dump_fields(void* config, FieldsFunction fields, const ConfigNode* origins) {
  Dumper dumper;
  fields(dumper, config);
  return write(std::move(dumper).take(), origins);
}

std::string dump_node(const ConfigNode& node) { return write(node, nullptr); }

}  // namespace continuo
