#include "generate/sampling/stage_table.h"

#include "generate/sampling/stages/bans.h"
#include "generate/sampling/stages/cutoffs.h"
#include "generate/sampling/stages/dry.h"
#include "generate/sampling/stages/greedy.h"
#include "generate/sampling/stages/mirostat.h"
#include "generate/sampling/stages/no_repeat_ngram.h"
#include "generate/sampling/stages/penalties.h"
#include "generate/sampling/stages/temperature.h"
#include "generate/sampling/stages/top_k.h"
#include "generate/sampling/stages/top_p.h"
#include "generate/sampling/stages/typical.h"
#include "generate/sampling/stages/xtc.h"

namespace continuo {
namespace {

template <class Stage>
StageSpec row(std::string_view name, StageKind kind, std::string_view main, std::string_view help) {
  using Params = typename Stage::Params;
  return {.name = name,
          .kind = kind,
          .main = main,
          .help = help,
          .make = [](const ConfigNode& node, Problems& problems,
                     std::string_view path) -> std::unique_ptr<SamplerStage> {
            Params params;
            load_config(node, params, problems, path);
            return std::make_unique<Stage>(params);
          },
          .resolved =
              [](const ConfigNode& node) {
                Params params;
                Problems ignored;
                load_config(node, params, ignored);
                return dump_config(params);
              },
          .params_help = [] { return config_help<Params>(); }};
}

}  // namespace

std::span<const StageSpec> stage_table() {
  using enum StageKind;
  // Canonical order: masks, penalties, truncation, temperature, then what must come last.
  static const StageSpec kTable[] = {
      row<LogitBias>("logit_bias", kMask, "", "Adds to the logits of given tokens."),
      row<BannedWords>("banned_words", kMask, "words", "Forbids given texts and tokens."),
      row<NoRepeatNgram>("no_repeat_ngram", kMask, "n", "Forbids n-grams seen before."),
      row<MinNewTokens>("min_new_tokens", kMask, "n", "Forbids an early end."),
      row<Repetition>("repetition", kPenalty, "penalty", "Scales the tokens that occurred."),
      row<Frequency>("frequency", kPenalty, "penalty", "Lowers tokens by how often they occurred."),
      row<Presence>("presence", kPenalty, "penalty", "Lowers tokens that occurred."),
      row<Dry>("dry", kPenalty, "multiplier", "Lowers tokens that extend a verbatim repeat."),
      row<TopNSigma>("top_n_sigma", kTruncation, "n", "Keeps logits near the highest, in sigmas."),
      row<TopK>("top_k", kTruncation, "k", "Keeps the k most probable tokens."),
      row<Typical>("typical", kTruncation, "p", "Keeps tokens of typical surprise."),
      row<TopP>("top_p", kTruncation, "p", "Keeps the smallest top set with probability p."),
      row<MinP>("min_p", kTruncation, "p", "Keeps tokens with a share of the top probability."),
      row<Epsilon>("epsilon", kTruncation, "cutoff", "Keeps tokens above a probability."),
      row<Eta>("eta", kTruncation, "cutoff",
               "Keeps tokens above an entropy-dependent probability."),
      row<Xtc>("xtc", kTruncation, "probability", "Sometimes excludes the top choices."),
      row<Temperature>("temperature", kTemperature, "value", "Flattens or sharpens; 0 is argmax."),
      row<Greedy>("greedy", kGreedy, "", "Keeps the most probable token alone."),
      row<Mirostat>("mirostat", kAdaptive, "tau", "Steers the surprise of the text (v2)."),
  };
  return kTable;
}

const StageSpec* find_stage(std::string_view name) {
  for (const StageSpec& spec : stage_table()) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

size_t canonical_position(const StageSpec& spec) {
  return static_cast<size_t>(&spec - stage_table().data());
}

std::vector<std::string> stage_names() {
  std::vector<std::string> names;
  for (const StageSpec& spec : stage_table()) names.emplace_back(spec.name);
  return names;
}

}  // namespace continuo
