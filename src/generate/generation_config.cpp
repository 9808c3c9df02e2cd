#include "generate/generation_config.h"

#include "core/config/text.h"
#include "core/suggest.h"

namespace continuo {
namespace {

using Kind = ConfigNode::Kind;

// "a.b=value" → ("a", value of a as a node).
struct Assignment {
  std::string key;
  ConfigNode value;
};

// `bare`: what a key without "=" means.
Assignment parse_assignment(std::string_view text, bool bare) {
  std::string full(text);
  if (bare && text.find('=') == std::string_view::npos) full += "=true";
  ConfigNode root;
  root.kind = Kind::kMap;
  apply_override(root, full);
  return {root.fields.front().first, root.fields.front().second};
}

std::string first_key(std::string_view assignment) {
  return std::string(assignment.substr(0, assignment.find_first_of(".=")));
}

}  // namespace

void fields(FieldVisitor& v, GenerationConfig& c) {
  v.field("max_new_tokens", c.max_new_tokens, "Longest completion in tokens.", Range::at_least(1));
  v.field("samples", c.samples, "Completions for each prompt; they share its prefill.",
          Range::at_least(1));
  v.field("seed", c.seed, "Same seed, same completion, whatever else is in the batch.",
          Range::at_least(0));
  v.field("stop", c.stop, "Texts that end a completion; it is cut before them.");
  v.field("eos", c.eos, "Token ids that end a completion, instead of the tokenizer's.");
  v.field("ignore_eos", c.ignore_eos, "Go on after an end-of-sequence token.");
  v.field("context", c.context, "Longest prompt + completion in tokens; unset: the model's.",
          Range::at_least(1));
  v.field("time_limit", c.time_limit, "Seconds for all completions together; unset: no limit.",
          Range::positive());
  v.field("max_batch", c.max_batch, "Sequences decoded at once; further ones wait.",
          Range::at_least(1));
  v.field("prefill_chunk", c.prefill_chunk, "Prompt tokens in one forward call; bounds memory.",
          Range::at_least(1));
  v.field(
      "draft", c.draft,
      "Speculative decoding, which changes speed and nothing else: none, lookup (what followed the "
      "same tokens before), self (the model with 4-bit weights) or a model directory with the same "
      "vocabulary.");
  v.field("draft_weights", c.draft_weights,
          "Weights of a draft model; auto: q4 for self, else as the model's.");
  v.field("draft_tokens", c.draft_tokens,
          "Drafted tokens in one pass at most; how many pay is learnt.", Range::between(1, 63));
  v.field("draft_ngram", c.draft_ngram, "lookup: shortest run of tokens that counts as the same.",
          Range::between(1, 32));
  v.field("sampler", c.sampler, "Stages in the order in which they are applied.");
}

bool drafts_by_model(const GenerationConfig& config) {
  return config.draft != kDraftNone && config.draft != kDraftLookup;
}

ConfigNode written_sampler(const GenerationConfig& config) {
  if (config.sampler.kind != Kind::kNull) return config.sampler;
  return parse_yaml("- min_p: 0.05\n- temperature: 0.7\n", "default sampler");
}

void validate(const GenerationConfig& config, Problems& problems) {
  read_chain(written_sampler(config), problems);
  for (const std::string& stop : config.stop) {
    if (stop.empty()) problems.add({}, "stop: a stop text is empty", "remove it");
  }
  if (config.draft.empty())
    problems.add({}, "draft is empty", "none, lookup, self or a model directory");
}

std::vector<WrittenStage> resolve_chain(const GenerationConfig& config) {
  Problems problems;
  auto chain = read_chain(written_sampler(config), problems);
  problems.raise();
  return chain;
}

std::string describe_chain(const GenerationConfig& config) {
  return describe_chain(resolve_chain(config));
}

std::vector<std::string> chain_notes(const GenerationConfig& config) {
  return chain_notes(resolve_chain(config));
}

void set_stage(GenerationConfig& config, std::string_view assignment) {
  const Assignment edit = parse_assignment(assignment, true);
  GenerationConfig changed = config;
  changed.sampler = with_stage(written_sampler(config), edit.key, edit.value);
  resolve_chain(changed);
  config = std::move(changed);
}

void apply_generation_override(GenerationConfig& config, std::string_view assignment) {
  const std::string key = first_key(assignment);
  if (find_stage(key)) return set_stage(config, assignment);

  GenerationConfig changed = config;
  ConfigNode root;
  root.kind = Kind::kMap;
  if (key == "sampler") root.fields.emplace_back("sampler", written_sampler(config));
  apply_override(root, assignment);

  // Unknown keys are compared with stages too; the loader knows only the fields.
  std::vector<std::string> known = stage_names();
  const ConfigNode names = parse_yaml(dump_config(GenerationConfig{}), "defaults");
  for (const auto& [name, value] : names.fields) known.push_back(name);
  if (!names.find(key)) {
    throw Error(root.fields.front().second.where, fmt::format("unknown key {}", key),
                did_you_mean(key, known));
  }
  Problems problems;
  load_config(root, changed, problems);
  problems.raise();
  validate(changed, problems);
  problems.raise();
  config = std::move(changed);
}

}  // namespace continuo
