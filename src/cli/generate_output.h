// What `continuo generate` says about completions: summaries for people, JSON for programs.
#pragma once

#include <span>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "app/prompt_source.h"
#include "generate/generator.h"

namespace continuo {

// "eos (</s>)", "stop (\"\\n\")", "length", …
std::string describe_finish(const Completion& completion, const Tokenizer& tokenizer);

// "42 tokens, 310 tokens/s, first after 0.01s, accepted 30 of 35 drafted tokens, 3.5 tokens a pass,
// eos (</s>)"; of several completions the reasons are counted.
std::string summarize(const GenerationResult& result, const Tokenizer& tokenizer);

// Everything about one completion. `ids` are the prompt's.
nlohmann::json completion_json(const Completion& completion, const PromptInput& input,
                               std::span<const TokenId> ids, const GenerationConfig& config,
                               const GenerationTimings& timings, const Tokenizer& tokenizer);

// The text of a completion, ill-formed bytes replaced.
std::string text_of(const Completion& completion);

// A line about what was done, on standard error; dim where it has colour. Not under --quiet.
void log_dim(std::string_view text);

}  // namespace continuo
