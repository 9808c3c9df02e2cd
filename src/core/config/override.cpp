// key=value overrides, and finding what a dotted key names.
#include "core/config/config.h"
#include "core/config/text.h"

namespace continuo {
namespace fs = std::filesystem;
namespace {

using Kind = ConfigNode::Kind;

// The '=' after the key; a quoted part of the key may hold others.
size_t find_assignment(std::string_view text) {
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (text[i] == '=' && !quoted) return i;
  }
  return std::string_view::npos;
}

void mark(ConfigNode& node, const Location& where) {
  node.where = where;
  node.overridden = true;
  for (ConfigNode& item : node.items) mark(item, where);
  for (auto& field : node.fields) mark(field.second, where);
}

ConfigNode parse_value(std::string_view text, const std::string& assignment) {
  try {
    ConfigNode value = parse_yaml(text, assignment);
    mark(value, {assignment});
    return value;
  } catch (const Error& error) {
    throw Error::usage(fmt::format("bad value in {}: {}", assignment, error.what()),
                       "quote text that holds special characters: key='\"text\"'");
  }
}

// One step down, creating what is missing.
ConfigNode& descend(ConfigNode& node, const std::string& key, const std::string& path,
                    const std::string& assignment) {
  auto refuse = [&](const std::string& why) {
    std::string at = node.where.known() ? fmt::format(" ({})", node.where.str()) : "";
    return Error::usage(fmt::format("{}: {}{}", assignment, why, at));
  };
  auto index = parse_index(key);
  if (node.kind == Kind::kScalar && index == size_t{0}) {
    // A single value stands for a list of one.
    ConfigNode item = node;
    node.kind = Kind::kList;
    node.scalar.clear();
    node.items.push_back(std::move(item));
  }
  switch (node.kind) {
    case Kind::kScalar:
      throw refuse(fmt::format("{} is a single value, nothing is below it", path));
    case Kind::kList:
      if (!index || *index > node.items.size()) {
        throw refuse(fmt::format("{} is a list of {}; {} is none of its items", path,
                                 node.items.size(), key));
      }
      if (*index == node.items.size()) node.items.emplace_back();
      return node.items[*index];
    case Kind::kNull:
      node.kind = Kind::kMap;
      node.overridden = true;
      if (!node.where.known()) node.where = {assignment};
      [[fallthrough]];
    case Kind::kMap:
      break;
  }
  if (ConfigNode* child = node.find(key)) return *child;
  return node.fields.emplace_back(key, ConfigNode{}).second;
}

}  // namespace

void apply_override(ConfigNode& root, std::string_view assignment) {
  std::string text(assignment);
  size_t equals = find_assignment(text);
  if (equals == std::string::npos) {
    throw Error::usage(fmt::format("{} is not an override", text),
                       "write key=value, for example lr=3e-4");
  }
  auto keys = split_key(std::string_view(text).substr(0, equals));
  if (!keys) throw Error::usage(fmt::format("malformed key in {}", text), "write key.subkey=value");
  ConfigNode value = parse_value(std::string_view(text).substr(equals + 1), text);
  ConfigNode edited = root;  // a refused override leaves nothing behind
  ConfigNode* node = &edited;
  std::string path;
  for (const std::string& key : *keys) {
    node = &descend(*node, key, path.empty() ? "the configuration" : path, text);
    path = join_key(path, key);
  }
  *node = std::move(value);
  root = std::move(edited);
}

const ConfigNode* find_path(const ConfigNode& root, std::string_view dotted_key) {
  auto keys = split_key(dotted_key);
  const ConfigNode* node = &root;
  for (size_t i = 0; keys && node && i < keys->size(); ++i) node = child_of(*node, (*keys)[i]);
  return keys ? node : nullptr;
}

Location locate(const ConfigNode& root, std::string_view dotted_key) {
  const ConfigNode* node = &root;
  Location where = root.where;
  for (const std::string& key : split_key(dotted_key).value_or(std::vector<std::string>{})) {
    node = child_of(*node, key);
    if (!node) break;
    if (node->where.known()) where = node->where;
  }
  return where;
}

fs::path resolve_path(const ConfigNode& root, std::string_view dotted_key,
                      const std::string& value) {
  const ConfigNode* node = find_path(root, dotted_key);
  fs::path path(value);
  if (path.is_absolute() || !node || node->overridden || !node->where.known()) return path;
  return (fs::path(node->where.file).parent_path() / path).lexically_normal();
}

}  // namespace continuo
