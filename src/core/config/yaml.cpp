// YAML files → ConfigNode, with `extends:`.
#include <algorithm>

#include <yaml-cpp/yaml.h>

#include "core/config/config.h"
#include "core/files.h"
#include "core/json.h"
#include "core/utf8.h"

namespace continuo {
namespace fs = std::filesystem;
namespace {

// Anchors let a short file describe an exponential or an endless tree.
constexpr int kMaxDepth = 100;
constexpr int64_t kMaxNodes = 1'000'000;

class Converter {
 public:
  explicit Converter(std::string file) : file_(std::move(file)) {}

  ConfigNode convert(const YAML::Node& yaml, int depth = 0) {
    ConfigNode node;
    node.where = place(yaml.Mark());
    if (depth > kMaxDepth) throw Error(node.where, "nested too deeply");
    if (++count_ > kMaxNodes) throw Error(node.where, "too many values, are there nested anchors?");
    switch (yaml.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        break;
      case YAML::NodeType::Scalar:
        node.kind = ConfigNode::Kind::kScalar;
        node.scalar = yaml.Scalar();
        // yaml-cpp marks quoted and block scalars with "!", plain ones with "?".
        node.quoted = yaml.Tag() == "!" || yaml.Tag() == "tag:yaml.org,2002:str";
        break;
      case YAML::NodeType::Sequence:
        node.kind = ConfigNode::Kind::kList;
        for (const auto& item : yaml) node.items.push_back(convert(item, depth + 1));
        break;
      case YAML::NodeType::Map:
        node.kind = ConfigNode::Kind::kMap;
        for (const auto& pair : yaml) {
          std::string key = key_of(pair.first);
          if (const ConfigNode* first = node.find(key)) {
            throw Error(place(pair.first.Mark()), fmt::format("the key {} is given twice", key),
                        "first at " + first->where.str());
          }
          ConfigNode value = convert(pair.second, depth + 1);
          // yaml-cpp places an empty value where the next one begins.
          Location key_place = place(pair.first.Mark());
          if (value.kind == ConfigNode::Kind::kNull && value.where.line != key_place.line) {
            value.where = key_place;
          }
          node.fields.emplace_back(std::move(key), std::move(value));
        }
        break;
    }
    return node;
  }

 private:
  Location place(const YAML::Mark& mark) const {
    if (mark.is_null()) return {file_};
    return {file_, mark.line + 1, mark.column + 1};
  }

  std::string key_of(const YAML::Node& key) const {
    if (key.IsScalar()) return key.Scalar();
    if (key.IsNull()) return "null";
    throw Error(place(key.Mark()), "a key must be a single word, not a list or a map");
  }

  std::string file_;
  int64_t count_ = 0;
};

// Keys of `over` replace or extend those of `base`; order: base first.
ConfigNode merge(ConfigNode base, ConfigNode over) {
  constexpr auto kMap = ConfigNode::Kind::kMap;
  if (base.kind != kMap || over.kind != kMap) return over;
  for (auto& [key, value] : over.fields) {
    if (ConfigNode* old = base.find(key)) {
      *old = merge(std::move(*old), std::move(value));
    } else {
      base.fields.emplace_back(key, std::move(value));
    }
  }
  base.where = over.where;
  return base;
}

// Takes `extends` out of the map.
std::vector<ConfigNode> take_extends(ConfigNode& root) {
  auto it = std::find_if(root.fields.begin(), root.fields.end(),
                         [](const auto& field) { return field.first == "extends"; });
  if (it == root.fields.end()) return {};
  ConfigNode value = std::move(it->second);
  root.fields.erase(it);
  if (value.kind == ConfigNode::Kind::kNull) return {};
  std::vector<ConfigNode> paths;
  if (value.kind == ConfigNode::Kind::kList) {
    paths = std::move(value.items);
  } else {
    paths.push_back(std::move(value));
  }
  for (const ConfigNode& path : paths) {
    if (path.kind != ConfigNode::Kind::kScalar) {
      throw Error(path.where, "extends takes the path of a file or a list of paths");
    }
  }
  return paths;
}

std::string read_yaml_file(const fs::path& path, const Location& named_at) {
  try {
    return read_file(path);
  } catch (const Error& error) {
    if (!named_at.known()) throw;
    throw Error(named_at, error.what());
  }
}

ConfigNode load_extending(const fs::path& path, const Location& named_at,
                          std::vector<fs::path>& chain) {
  std::error_code ignored;
  fs::path identity = fs::weakly_canonical(path, ignored);
  if (std::find(chain.begin(), chain.end(), identity) != chain.end()) {
    std::string names;
    for (const fs::path& link : chain) names += link.filename().string() + " → ";
    throw Error(named_at,
                "extends goes round in a circle: " + names + identity.filename().string());
  }
  ConfigNode own = parse_yaml(read_yaml_file(path, named_at), path.string());
  chain.push_back(identity);
  ConfigNode merged;
  merged.kind = own.kind;
  merged.where = own.where;
  for (const ConfigNode& base : take_extends(own)) {
    fs::path base_path = (path.parent_path() / base.scalar).lexically_normal();
    ConfigNode extended = load_extending(base_path, base.where, chain);
    merged.kind = ConfigNode::Kind::kMap;
    if (extended.kind != ConfigNode::Kind::kNull)
      merged = merge(std::move(merged), std::move(extended));
  }
  chain.pop_back();
  if (own.kind == ConfigNode::Kind::kNull) return merged;
  return merge(std::move(merged), std::move(own));
}

}  // namespace

const ConfigNode* ConfigNode::find(std::string_view key) const {
  for (const auto& [name, value] : fields) {
    if (name == key) return &value;
  }
  return nullptr;
}

ConfigNode* ConfigNode::find(std::string_view key) {
  return const_cast<ConfigNode*>(std::as_const(*this).find(key));
}

ConfigNode parse_yaml(std::string_view text, const std::string& name) {
  if (auto invalid = find_invalid_utf8(text)) {
    throw Error(locate_offset(text, *invalid, {name}), "this is not UTF-8",
                "convert the file to UTF-8");
  }
  try {
    std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    ConfigNode root;
    if (documents.size() > 1) {
      throw Error({name}, "several YAML documents in one file", "remove the lines with '---'");
    }
    if (!documents.empty()) root = Converter(name).convert(documents[0]);
    if (root.where.line == 0) root.where = {name, 1, 1};
    return root;
  } catch (const YAML::Exception& error) {
    Location where{name};
    if (!error.mark.is_null()) where = {name, error.mark.line + 1, error.mark.column + 1};
    throw Error(where, "invalid YAML: " + error.msg);
  }
}

ConfigNode load_yaml(const fs::path& path) {
  std::vector<fs::path> chain;
  ConfigNode root = load_extending(path, {}, chain);
  if (root.kind != ConfigNode::Kind::kMap && root.kind != ConfigNode::Kind::kNull) {
    throw Error(root.where, "expected `key: value` lines");
  }
  return root;
}

}  // namespace continuo
