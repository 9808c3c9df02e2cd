#include "generate/sampling/chain_config.h"

#include <algorithm>
#include <optional>

#include <fmt/ranges.h>

#include "core/config/text.h"
#include "core/suggest.h"

namespace continuo {
namespace {

using Kind = ConfigNode::Kind;

ConfigNode empty_map(const Location& where) {
  ConfigNode node;
  node.kind = Kind::kMap;
  node.where = where;
  return node;
}

// Writes the short form out; nothing when the stage has no main parameter to take the value.
std::optional<ConfigNode> long_form(const StageSpec& spec, const ConfigNode& value) {
  if (value.kind == Kind::kMap) return value;
  ConfigNode params = empty_map(value.where);
  if (value.kind == Kind::kNull) return params;
  if (spec.main.empty()) {
    if (value.kind == Kind::kScalar && parse_bool(value.scalar).value_or(false)) return params;
    return std::nullopt;
  }
  params.fields.emplace_back(spec.main, value);
  return params;
}

// An item of the list as (name, value), or nothing when it has another shape.
std::optional<std::pair<std::string, ConfigNode>> split_item(const ConfigNode& item) {
  if (item.kind == Kind::kScalar) {
    ConfigNode none;
    none.where = item.where;
    return {{item.scalar, none}};
  }
  if (item.kind == Kind::kMap && item.fields.size() == 1) return item.fields.front();
  return std::nullopt;
}

bool is_off(const ConfigNode& value) {
  if (value.kind == Kind::kNull) return true;
  if (value.kind != Kind::kScalar || value.quoted) return false;
  const auto flag = parse_bool(value.scalar);
  return value.scalar == "off" || (flag && !*flag);
}

void check_order(const std::vector<WrittenStage>& chain, Problems& problems) {
  for (size_t i = 0; i < chain.size(); ++i) {
    if (chain[i].spec->kind != StageKind::kAdaptive) continue;
    const std::string_view name = chain[i].spec->name;
    for (size_t j = 0; j < chain.size(); ++j) {
      const StageSpec& other = *chain[j].spec;
      if (j > i) {
        problems.add(chain[j].params.where,
                     fmt::format("{}: {} comes after {}, which must be last", chain[j].path,
                                 other.name, name),
                     fmt::format("move {} to the end of the list", name));
      } else if (j < i &&
                 (other.kind == StageKind::kTruncation || other.kind == StageKind::kGreedy)) {
        problems.add(chain[j].params.where,
                     fmt::format("{}: {} and {} contradict each other: {} truncates by itself",
                                 chain[j].path, other.name, name, name),
                     fmt::format("remove one of them"));
      }
    }
  }
}

// A value on one line.
std::string flow(const ConfigNode& node) {
  std::vector<std::string> parts;
  switch (node.kind) {
    case Kind::kNull:
      return "null";
    case Kind::kScalar:
      return spell_scalar(node);
    case Kind::kList:
      for (const ConfigNode& item : node.items) parts.push_back(flow(item));
      return fmt::format("[{}]", fmt::join(parts, ", "));
    case Kind::kMap:
      for (const auto& [key, value] : node.fields) {
        parts.push_back(fmt::format("{}: {}", spell_string(key), flow(value)));
      }
      return fmt::format("{{{}}}", fmt::join(parts, ", "));
  }
  return {};
}

ConfigNode resolved_params(const WrittenStage& stage) {
  return parse_yaml(stage.spec->resolved(stage.params), std::string(stage.spec->name));
}

bool is_argmax(const WrittenStage& stage) {
  if (stage.spec->kind == StageKind::kGreedy) return true;
  if (stage.spec->kind != StageKind::kTemperature) return false;
  const ConfigNode params = resolved_params(stage);
  auto zero = [&](std::string_view key) {
    const ConfigNode* value = params.find(key);
    return value && parse_real(value->scalar) == 0.0;
  };
  return zero("value") && zero("range");
}

}  // namespace

std::vector<WrittenStage> read_chain(const ConfigNode& list, Problems& problems) {
  const bool single = list.kind != Kind::kList;
  const std::vector<ConfigNode> items =
      single ? (list.kind == Kind::kNull ? std::vector<ConfigNode>{} : std::vector{list})
             : list.items;
  std::vector<WrittenStage> chain;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string place = single ? "sampler" : fmt::format("sampler.{}", i);
    const auto item = split_item(items[i]);
    if (!item) {
      problems.add(items[i].where,
                   fmt::format("{}: expected a stage, found {}", place, describe(items[i])),
                   "write one stage an item: `- top_k: 40`");
      continue;
    }
    const auto& [name, value] = *item;
    const StageSpec* spec = find_stage(name);
    if (!spec) {
      problems.add(items[i].where, fmt::format("{}: unknown stage {}", place, name),
                   did_you_mean(name, stage_names()));
      continue;
    }
    const std::string path = fmt::format("{}.{}", place, name);
    auto params = long_form(*spec, value);
    if (!params) {
      problems.add(value.where, fmt::format("{}: this stage takes no single value", path),
                   "give its parameters by name");
      continue;
    }
    spec->make(*params, problems, path);
    chain.push_back({spec, std::move(*params), path});
  }
  check_order(chain, problems);
  return chain;
}

std::vector<std::string> chain_notes(const std::vector<WrittenStage>& chain) {
  std::vector<std::string> notes;
  const auto argmax = std::find_if(chain.begin(), chain.end(), is_argmax);
  if (argmax != chain.end()) {
    const std::string why =
        argmax->spec->kind == StageKind::kGreedy ? "greedy is in the chain" : "temperature is 0";
    for (const WrittenStage& stage : chain) {
      const bool samples = stage.spec->kind == StageKind::kTemperature ||
                           (stage.spec->kind == StageKind::kTruncation &&
                            stage.spec->name != "typical" && stage.spec->name != "xtc");
      if (&stage != &*argmax && samples) {
        notes.push_back(fmt::format("{} has no effect: {}", stage.spec->name, why));
      }
    }
  }
  std::string_view truncation;
  for (const WrittenStage& stage : chain) {
    if (stage.spec->kind == StageKind::kTruncation) truncation = stage.spec->name;
    if (stage.spec->kind == StageKind::kMask && !truncation.empty()) {
      notes.push_back(fmt::format(
          "{} comes after {}: tokens forbidden after a truncation can leave none to draw",
          stage.spec->name, truncation));
    }
  }
  return notes;
}

std::string describe_chain(const std::vector<WrittenStage>& chain) {
  std::string text;
  for (const WrittenStage& stage : chain) {
    const ConfigNode params = resolved_params(stage);
    const bool plain = params.kind != Kind::kMap || params.fields.empty();
    text += plain ? fmt::format("- {}\n", stage.spec->name)
                  : fmt::format("- {}: {}\n", stage.spec->name, flow(params));
  }
  return text;
}

ConfigNode with_stage(const ConfigNode& list, std::string_view name, const ConfigNode& value) {
  const StageSpec* spec = find_stage(name);
  if (!spec) {
    throw Error(value.where, fmt::format("unknown stage {}", name),
                did_you_mean(name, stage_names()));
  }
  ConfigNode result = list;
  result.kind = Kind::kList;
  if (list.kind != Kind::kList && list.kind != Kind::kNull) result.items = {list};

  auto name_of = [](const ConfigNode& item) {
    const auto split = split_item(item);
    return split ? split->first : std::string();
  };
  auto remove = [&](std::string_view stage) {
    std::erase_if(result.items, [&](const ConfigNode& item) { return name_of(item) == stage; });
  };
  const auto is_it = [&](const ConfigNode& item) { return name_of(item) == name; };
  if (std::count_if(result.items.begin(), result.items.end(), is_it) > 1) {
    throw Error(value.where, fmt::format("{} stands in the chain more than once", name),
                "name the one you mean by its index: sampler.0." + std::string(name) + "=…");
  }
  if (is_off(value) && !(name == "greedy" && value.kind == Kind::kNull)) {
    remove(name);
    return result;
  }
  if (spec->kind == StageKind::kTemperature || spec->kind == StageKind::kAdaptive) remove("greedy");

  auto it = std::find_if(result.items.begin(), result.items.end(), is_it);
  const auto fresh = long_form(*spec, value);
  ConfigNode params = fresh.value_or(value);  // a value without a place is reported by read_chain
  if (it != result.items.end() && fresh) {
    const auto before = long_form(*spec, split_item(*it)->second);
    if (before) {
      ConfigNode merged = *before;
      for (const auto& [key, field] : fresh->fields) {
        if (ConfigNode* old = merged.find(key)) {
          *old = field;
        } else {
          merged.fields.emplace_back(key, field);
        }
      }
      params = std::move(merged);
    }
  }
  ConfigNode item = empty_map(value.where);
  item.overridden = value.overridden;
  item.fields.emplace_back(name, std::move(params));
  if (it != result.items.end()) {
    *it = std::move(item);
    return result;
  }
  auto place = result.items.begin();
  for (auto at = result.items.begin(); at != result.items.end(); ++at) {
    const StageSpec* other = find_stage(name_of(*at));
    if (other && canonical_position(*other) < canonical_position(*spec)) place = at + 1;
  }
  result.items.insert(place, std::move(item));
  return result;
}

}  // namespace continuo
