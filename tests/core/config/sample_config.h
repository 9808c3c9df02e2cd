// A config struct that uses every kind of field.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/config/config.h"

namespace continuo::test {

enum class Decay { kConstant, kLinear, kCosine };
inline std::span<const EnumName> enum_names(Decay) {
  static constexpr std::array<EnumName, 3> kNames{{{"constant", 0}, {"linear", 1}, {"cosine", 2}}};
  return kNames;
}

struct Optimizer {
  double lr = 1e-4;
  Decay decay = Decay::kCosine;
  std::optional<double> clip = 1.0;
  bool operator==(const Optimizer&) const = default;
};
inline void fields(FieldVisitor& v, Optimizer& c) {
  v.field("lr", c.lr, "Peak learning rate.", Range::positive());
  v.field("decay", c.decay, "Shape of the decay.");
  v.field("clip", c.clip, "Largest gradient norm.", Range::at_least(0));
}

struct Source {
  std::string path;
  double weight = 1;
  std::vector<Optimizer> nested;
  bool operator==(const Source&) const = default;
};
inline void fields(FieldVisitor& v, Source& c) {
  v.field("path", c.path, "File.");
  v.required();
  v.field("weight", c.weight, "Passes per epoch.", Range::at_least(0));
  v.list("nested", c.nested, "Structs in structs.");
}

struct Experiment {
  std::string name = "run";
  int64_t steps = 100;
  bool shuffle = true;
  std::optional<int64_t> seed;
  std::optional<std::string> note;
  Optimizer optimizer;
  std::vector<Source> sources;
  std::vector<int64_t> ids;
  std::vector<double> shares;
  std::vector<std::string> stop;
  std::map<std::string, std::string> labels;
  std::map<std::string, double> bias;
  ConfigNode stages;
};
inline void fields(FieldVisitor& v, Experiment& c) {
  v.field("name", c.name, "Name of the run.");
  v.field("steps", c.steps, "Optimizer steps.", Range::between(1, 1000000));
  v.field("shuffle", c.shuffle, "Draw rows in random order.");
  v.field("seed", c.seed, "Seed; null draws one.");
  v.field("note", c.note, "Free text.");
  v.section("optimizer", c.optimizer, "How weights are updated.");
  v.list("sources", c.sources, "Where rows come from.");
  v.field("ids", c.ids, "Token ids.");
  v.field("shares", c.shares, "Shares.");
  v.field("stop", c.stop, "Stop strings.");
  v.field("labels", c.labels, "Labels.");
  v.field("bias", c.bias, "Logit bias.");
  v.field("stages", c.stages, "Sampler stages.");
}

// The text of all faults, "" when there is none.
inline std::string faults(const ConfigNode& root, Experiment& config) {
  Problems problems;
  load_config(root, config, problems);
  try {
    problems.raise();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}
inline std::string faults(const std::string& yaml) {
  Experiment config;
  return faults(parse_yaml(yaml, "c.yaml"), config);
}
inline Experiment loaded(const std::string& yaml) {
  Experiment config;
  Problems problems;
  load_config(parse_yaml(yaml, "c.yaml"), config, problems);
  problems.raise();
  return config;
}

}  // namespace continuo::test
