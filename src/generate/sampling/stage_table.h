// All sampler stages in one explicit table, in canonical order. A new stage is one file under
// stages/ and one row here.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/config/config.h"
#include "generate/sampling/stage.h"

namespace continuo {

// What a stage does to the row, for finding contradictions in a chain.
enum class StageKind { kMask, kPenalty, kTruncation, kTemperature, kGreedy, kAdaptive };

struct StageSpec {
  std::string_view name;
  StageKind kind;
  std::string_view main;  // the parameter of the short form: `top_p: 0.9` is `top_p: {p: 0.9}`
  std::string_view help;
  // From a map of parameters; faults go to `problems`. `path` is the place in the document.
  std::unique_ptr<SamplerStage> (*make)(const ConfigNode& params, Problems& problems,
                                        std::string_view path);
  // All parameters as YAML, defaults included.
  std::string (*resolved)(const ConfigNode& params);
  // One line per parameter.
  std::string (*params_help)();
};

std::span<const StageSpec> stage_table();

// nullptr when there is none of that name.
const StageSpec* find_stage(std::string_view name);

// Canonical position: 0 is applied first.
size_t canonical_position(const StageSpec& spec);

std::vector<std::string> stage_names();

}  // namespace continuo
