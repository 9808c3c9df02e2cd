// The sampler as it is written: a YAML list of stages in the order of application,
//   - top_k: 40                                # short form of {k: 40}
//   - repetition: {penalty: 1.1, form: raw}
//   - greedy
// This file reads, edits and explains such lists; sampler_chain.h runs them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"
#include "generate/sampling/stage_table.h"

namespace continuo {

struct WrittenStage {
  const StageSpec* spec;
  ConfigNode params;  // a map; the short form is written out
  std::string path;   // "sampler.2.top_k"
};

// Also accepts a single stage that is not in a list. Unknown stages, malformed items, wrong
// parameters and contradictions go to `problems`.
std::vector<WrittenStage> read_chain(const ConfigNode& list, Problems& problems);

// Settings that are allowed but do nothing or little together ("top_p has no effect: …").
std::vector<std::string> chain_notes(const std::vector<WrittenStage>& chain);

// One line per stage with every parameter: "- top_p: {p: 0.9, min_keep: 1}".
std::string describe_chain(const std::vector<WrittenStage>& chain);

// The list with stage `name` set to `value`: a scalar or list replaces the main parameter, a map
// the parameters it names; null or `off` removes the stage. A stage that is not there is put after
// the last one that canonically precedes it. Setting temperature or mirostat removes greedy.
// Error: unknown stage, a stage that stands in the list twice.
ConfigNode with_stage(const ConfigNode& list, std::string_view name, const ConfigNode& value);

}  // namespace continuo
