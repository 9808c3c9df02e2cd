// How completions are generated: lengths, stops, seeds and the sampler. One struct from YAML,
// `key=value` overrides and `/set`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"
#include "generate/sampling/chain_config.h"
#include "generate/weight_choice.h"

namespace continuo {

struct GenerationConfig {
  int64_t max_new_tokens = 256;
  int64_t samples = 1;
  int64_t seed = 0;
  std::vector<std::string> stop;
  std::vector<int64_t> eos;
  bool ignore_eos = false;
  std::optional<int64_t> context;
  std::optional<double> time_limit;
  int64_t max_batch = 32;
  int64_t prefill_chunk = 512;
  std::string draft = "none";
  WeightChoice draft_weights = WeightChoice::kAuto;
  int64_t draft_tokens = 16;
  int64_t draft_ngram = 2;
  // Null is the default chain: `[{min_p: 0.05}, {temperature: 0.7}]`. min_p judges the model's own
  // distribution, so raising the temperature does not let improbable tokens in; 0.7 suits answers
  // to instructions. No penalty is on by default.
  ConfigNode sampler;
};
void fields(FieldVisitor& v, GenerationConfig& c);

inline constexpr std::string_view kDraftNone = "none", kDraftLookup = "lookup", kDraftSelf = "self";
// Whether drafts come from a model: the generator's own in fewer bits ("self"), or one in a
// directory.
bool drafts_by_model(const GenerationConfig& config);

// The chain as written, or the default chain.
ConfigNode written_sampler(const GenerationConfig& config);

// Faults that single fields cannot show, the sampler's among them.
void validate(const GenerationConfig& config, Problems& problems);

// The stages of the config. Error: every fault in the list at once.
std::vector<WrittenStage> resolve_chain(const GenerationConfig& config);
// The resolved chain with every default, one stage a line.
std::string describe_chain(const GenerationConfig& config);
std::vector<std::string> chain_notes(const GenerationConfig& config);

// "temperature=0.7", "repetition={penalty: 1.2}", "repetition.form=raw", "greedy": edits that
// stage, or puts it at its canonical place in the chain; "top_p=off" removes it.
void set_stage(GenerationConfig& config, std::string_view assignment);

// One override of a command line or of `/set`: a key that begins with the name of a stage goes to
// the chain, every other key is a field of GenerationConfig. The config is unchanged when it
// throws. Error: unknown key (with a suggestion from both), bad value.
void apply_generation_override(GenerationConfig& config, std::string_view assignment);

}  // namespace continuo
