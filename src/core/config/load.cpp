// ConfigNode → struct.
#include <algorithm>
#include <optional>
#include <set>

#include <fmt/ranges.h>

#include "core/config/config.h"
#include "core/config/text.h"
#include "core/suggest.h"

namespace continuo {
namespace {

using Kind = ConfigNode::Kind;

class Loader final : public FieldVisitor {
 public:
  Loader(const ConfigNode& root, Problems& problems, std::string_view prefix)
      : problems_(problems) {
    open(&root, std::string(prefix), root.where);
  }

  // Unknown keys come last: by now it is known what every section holds.
  void finish() {
    close();
    for (const Unknown& unknown : unknown_) {
      problems_.add(unknown.where, fmt::format("unknown key {}", unknown.path), hint_for(unknown));
    }
  }

  void field(std::string_view name, bool& value, std::string_view) override {
    if (auto* node = scalar(name, "true or false")) read_bool(*node, value);
  }
  void field(std::string_view name, int64_t& value, std::string_view, Range range) override {
    if (auto* node = scalar(name, "a whole number")) read_integer(*node, value, range);
  }
  void field(std::string_view name, double& value, std::string_view, Range range) override {
    if (auto* node = scalar(name, "a number")) read_real(*node, value, range);
  }
  void field(std::string_view name, std::string& value, std::string_view) override {
    if (auto* node = scalar(name, "text")) value = node->scalar;
  }
  void field(std::string_view name, std::optional<int64_t>& value, std::string_view,
             Range range) override {
    if (!is_unset(name, value)) {
      int64_t number = 0;
      if (auto* node = scalar(name, "a whole number"); node && read_integer(*node, number, range))
        value = number;
    }
  }
  void field(std::string_view name, std::optional<double>& value, std::string_view,
             Range range) override {
    if (!is_unset(name, value)) {
      double number = 0;
      if (auto* node = scalar(name, "a number"); node && read_real(*node, number, range))
        value = number;
    }
  }
  void field(std::string_view name, std::optional<std::string>& value, std::string_view) override {
    if (!is_unset(name, value)) {
      if (auto* node = scalar(name, "text")) value = node->scalar;
    }
  }
  void field(std::string_view name, std::vector<int64_t>& value, std::string_view) override {
    read_list(name, value, "whole numbers",
              [&](const ConfigNode& node, int64_t& item) { return read_integer(node, item, {}); });
  }
  void field(std::string_view name, std::vector<double>& value, std::string_view) override {
    read_list(name, value, "numbers",
              [&](const ConfigNode& node, double& item) { return read_real(node, item, {}); });
  }
  void field(std::string_view name, std::vector<std::string>& value, std::string_view) override {
    read_list(name, value, "texts",
              [&](const ConfigNode& node, std::string& item) { return read_text(node, item); });
  }
  void field(std::string_view name, std::map<std::string, std::string>& value,
             std::string_view) override {
    read_map(name, value,
             [&](const ConfigNode& node, std::string& item) { return read_text(node, item); });
  }
  void field(std::string_view name, std::map<std::string, double>& value,
             std::string_view) override {
    read_map(name, value,
             [&](const ConfigNode& node, double& item) { return read_real(node, item, {}); });
  }
  void field(std::string_view name, ConfigNode& value, std::string_view) override {
    if (auto* node = take(name)) value = *node;
  }

  void required() override {
    if (last_given_ || top().lenient) return;
    problems_.add(top().where, fmt::format("{} is missing; it has no default", last_path_), "");
  }

 protected:
  void enumeration(std::string_view name, int& value, std::span<const EnumName> names,
                   std::string_view) override {
    std::vector<std::string> known;
    for (const EnumName& entry : names) known.emplace_back(entry.name);
    std::string expected = fmt::format("one of {}", fmt::join(known, ", "));
    auto* node = scalar(name, expected);
    if (!node) return;
    const auto flag = parse_bool(node->scalar);  // "True" is the name "true"
    const std::string word = flag ? (*flag ? "true" : "false") : node->scalar;
    auto it = std::find(known.begin(), known.end(), word);
    if (it != known.end()) {
      value = names[static_cast<size_t>(it - known.begin())].value;
      return;
    }
    auto close = closest_name(node->scalar, known);
    expected_but(*node, expected, close ? fmt::format("did you mean {}?", *close) : "");
  }

  bool begin_section(std::string_view name, std::string_view) override {
    const ConfigNode* node = take(name);
    if (node && node->kind != Kind::kMap && node->kind != Kind::kNull) {
      expected_but(*node, "a section with keys of its own", "");
      node = nullptr;
    }
    bool wrong = last_given_ && !node;
    open(node, last_path_, node ? node->where : top().where, wrong || top().lenient);
    return true;
  }
  void end_section() override { close(); }

  std::optional<size_t> begin_list(std::string_view name, size_t, std::string_view) override {
    const ConfigNode* node = take(name);
    lists_.push_back({last_path_, last_given_, list_items(node)});
    if (!node) return std::nullopt;
    if (node->kind == Kind::kNull) return 0;
    if (lists_.back().items) return lists_.back().items->size();
    expected_but(*node, "a list", "begin every item with '- '");
    return std::nullopt;
  }
  bool begin_item(size_t index) override {
    const List& list = lists_.back();
    const ConfigNode* node =
        list.items && index < list.items->size() ? (*list.items)[index] : nullptr;
    std::string path = join_key(list.path, std::to_string(index));
    last_path_ = path;
    if (node && node->kind != Kind::kMap && node->kind != Kind::kNull) {
      expected_but(*node, "a map of keys and values", "");
      node = nullptr;
    }
    // Items that nothing writes are the caller's defaults.
    open(node, path, node ? node->where : top().where, !node);
    return true;
  }
  void end_list() override {
    last_path_ = lists_.back().path;
    last_given_ = lists_.back().given;
    lists_.pop_back();
  }

 private:
  struct Frame {
    const ConfigNode* node;  // nullptr or null: nothing is written here
    std::string path;
    Location where;
    std::vector<std::string> names;
    bool given;
    bool lenient;  // required keys may be missing: there is nothing here, or another fault was
                   // reported
  };
  struct List {
    std::string path;
    bool given;
    std::optional<std::vector<const ConfigNode*>> items;
  };
  struct Unknown {
    Location where;
    std::string path, key;
    std::vector<std::string> siblings;
  };

  Frame& top() { return frames_.back(); }

  void open(const ConfigNode* node, std::string path, Location where, bool lenient = false) {
    frames_.push_back({node, std::move(path), std::move(where), {}, node != nullptr, lenient});
  }

  void close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    last_path_ = frame.path;
    last_given_ = frame.given;
    if (!frame.node || frame.node->kind != Kind::kMap) return;
    for (const auto& [key, value] : frame.node->fields) {
      if (std::find(frame.names.begin(), frame.names.end(), key) != frame.names.end()) continue;
      unknown_.push_back({value.where, join_key(frame.path, key), key, frame.names});
    }
  }

  // The node of a field of the open section; nullptr when it is not written.
  const ConfigNode* take(std::string_view name) {
    top().names.emplace_back(name);
    last_path_ = join_key(top().path, name);
    known_paths_.insert(last_path_);
    const ConfigNode* node = top().node ? top().node->find(name) : nullptr;
    last_given_ = node != nullptr;
    return node;
  }

  const ConfigNode* scalar(std::string_view name, std::string_view expected) {
    const ConfigNode* node = take(name);
    return node && check_scalar(*node, expected) ? node : nullptr;
  }

  bool check_scalar(const ConfigNode& node, std::string_view expected) {
    if (node.kind == Kind::kScalar) return true;
    std::string hint;
    if (expected == "text" && node.kind == Kind::kNull) hint = "write \"\" for an empty text";
    if (expected == "text" && node.kind != Kind::kNull)
      hint = "put quotes around text with { } [ ] : # in it";
    expected_but(node, expected, hint);
    return false;
  }

  void expected_but(const ConfigNode& node, std::string_view expected, const std::string& hint) {
    problems_.add(node.where,
                  fmt::format("{}: expected {}, found {}", last_path_, expected, describe(node)),
                  hint);
  }

  // null unsets an optional.
  template <class T>
  bool is_unset(std::string_view name, std::optional<T>& value) {
    const ConfigNode* node = top().node ? top().node->find(name) : nullptr;
    if (!node || node->kind != Kind::kNull) return false;
    take(name);
    value.reset();
    return true;
  }

  bool read_bool(const ConfigNode& node, bool& value) {
    auto parsed = node.quoted ? std::nullopt : parse_bool(node.scalar);
    if (parsed) value = *parsed;
    if (!parsed)
      expected_but(node, "true or false", quotes_hint(node, parse_bool(node.scalar).has_value()));
    return parsed.has_value();
  }

  bool read_integer(const ConfigNode& node, int64_t& value, Range range) {
    if (!check_scalar(node, "a whole number")) return false;
    auto parsed = parse_integer(node.scalar);
    if (!parsed || node.quoted) {
      std::string hint = quotes_hint(node, parsed.has_value());
      if (node.scalar.find('_') != std::string::npos) hint = "write it without '_'";
      expected_but(node, "a whole number", hint);
      return false;
    }
    if (!in_range(node, static_cast<double>(*parsed), range)) return false;
    value = *parsed;
    return true;
  }

  bool read_real(const ConfigNode& node, double& value, Range range) {
    if (!check_scalar(node, "a number")) return false;
    auto parsed = parse_real(node.scalar);
    if (!parsed || node.quoted) {
      expected_but(node, "a number", quotes_hint(node, parsed.has_value()));
      return false;
    }
    if (!in_range(node, *parsed, range)) return false;
    value = *parsed;
    return true;
  }

  bool read_text(const ConfigNode& node, std::string& value) {
    if (!check_scalar(node, "text")) return false;
    value = node.scalar;
    return true;
  }

  static std::string quotes_hint(const ConfigNode& node, bool would_fit) {
    return node.quoted && would_fit ? "remove the quotes" : "";
  }

  bool in_range(const ConfigNode& node, double value, Range range) {
    bool low = range.open_low ? value > range.low : value >= range.low;
    if (low && value <= range.high) return true;
    problems_.add(node.where, fmt::format("{} must be {}, found {}", last_path_, spell_range(range),
                                          node.scalar));
    return false;
  }

  // The items of a list; of a map with the keys 0, 1, …, which overrides make where nothing was
  // written; otherwise nothing.
  static std::optional<std::vector<const ConfigNode*>> list_items(const ConfigNode* node) {
    std::vector<const ConfigNode*> items;
    if (!node || node->kind == Kind::kScalar || node->kind == Kind::kNull) return std::nullopt;
    for (const ConfigNode& item : node->items) items.push_back(&item);
    for (size_t i = 0; i < node->fields.size(); ++i) {
      const ConfigNode* item = node->overridden ? node->find(std::to_string(i)) : nullptr;
      if (!item) return std::nullopt;
      items.push_back(item);
    }
    return items;
  }

  template <class T, class Read>
  void read_list(std::string_view name, std::vector<T>& value, std::string_view what, Read read) {
    const ConfigNode* node = take(name);
    if (!node) return;
    std::string path = last_path_;
    std::vector<T> items;
    bool good = true;
    if (node->kind == Kind::kScalar) {
      good = read(*node, items.emplace_back());
    } else if (auto nodes = list_items(node)) {
      for (size_t i = 0; i < nodes->size(); ++i) {
        last_path_ = join_key(path, std::to_string(i));
        good &= read(*(*nodes)[i], items.emplace_back());
      }
    } else if (node->kind != Kind::kNull) {
      expected_but(*node, fmt::format("a list of {}", what), "");
      good = false;
    }
    last_path_ = path;
    if (good) value = std::move(items);
  }

  template <class T, class Read>
  void read_map(std::string_view name, std::map<std::string, T>& value, Read read) {
    const ConfigNode* node = take(name);
    if (!node) return;
    if (node->kind != Kind::kMap && node->kind != Kind::kNull) {
      expected_but(*node, "a map of keys and values", "");
      return;
    }
    std::string path = last_path_;
    std::map<std::string, T> entries;
    bool good = true;
    for (const auto& [key, item] : node->fields) {
      last_path_ = join_key(path, key);
      good &= read(item, entries[key]);
    }
    last_path_ = path;
    if (good) value = std::move(entries);
  }

  std::string hint_for(const Unknown& unknown) const {
    if (auto close = closest_name(unknown.key, unknown.siblings))
      return fmt::format("did you mean {}?", *close);
    // The right name in the wrong section.
    for (const std::string& path : known_paths_) {
      if (path.ends_with("." + unknown.key) || path == unknown.key)
        return fmt::format("did you mean {}?", path);
    }
    return did_you_mean(unknown.key, unknown.siblings);
  }

  Problems& problems_;
  std::vector<Frame> frames_;
  std::vector<List> lists_;
  std::vector<Unknown> unknown_;
  std::set<std::string> known_paths_;
  std::string last_path_;
  bool last_given_ = false;
};

}  // namespace

void load_fields(const ConfigNode& root, void* config, FieldsFunction fields, Problems& problems,
                 std::string_view prefix) {
  if (root.kind != Kind::kMap && root.kind != Kind::kNull) {
    problems.add(root.where, fmt::format("expected keys and values, found {}", describe(root)));
    return;
  }
  Loader loader(root, problems, prefix);
  fields(loader, config);
  loader.finish();
}

}  // namespace continuo
