#include "cli/generate_output.h"

#include <map>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "app/settings.h"
#include "core/console.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/utf8.h"

namespace continuo {
namespace {

using nlohmann::json;

std::string quoted(const std::string& text) { return json(replace_invalid_utf8(text)).dump(); }

json finish_json(const Completion& completion, const Tokenizer& tokenizer) {
  switch (completion.reason) {
    case FinishReason::kEos:
      return {{"token", completion.stop_token}, {"piece", tokenizer.piece(completion.stop_token)}};
    case FinishReason::kStop:
      return {{"string", replace_invalid_utf8(completion.stop_string)},
              {"offset", completion.stop_offset}};
    case FinishReason::kError:
      return {{"error", completion.error}};
    default:
      return nullptr;
  }
}

}  // namespace

std::string describe_finish(const Completion& completion, const Tokenizer& tokenizer) {
  const std::string_view reason = name(completion.reason);
  if (completion.reason == FinishReason::kEos) {
    return fmt::format("{} ({})", reason, tokenizer.piece(completion.stop_token));
  }
  if (completion.reason == FinishReason::kStop) {
    return fmt::format("{} ({})", reason, quoted(completion.stop_string));
  }
  if (completion.reason == FinishReason::kError)
    return fmt::format("{} ({})", reason, completion.error);
  return std::string(reason);
}

std::string summarize(const GenerationResult& result, const Tokenizer& tokenizer) {
  const GenerationTimings& t = result.timings;
  std::string line = fmt::format("{} token{}", t.decoded_tokens, t.decoded_tokens == 1 ? "" : "s");
  // The first tokens come from the prefill and are not counted for the rate of decoding.
  const double seconds = t.decode_seconds + t.draft_seconds + t.sampling_seconds;
  const int64_t decoded = t.decoded_tokens - static_cast<int64_t>(result.completions.size());
  if (decoded > 0 && t.decode_seconds > 0) {
    line += fmt::format(", {:.4g} tokens/s", static_cast<double>(decoded) / seconds);
  }
  if (t.decoded_tokens > 0) {
    line += ", first after " + (t.first_token_seconds < 1
                                    ? fmt::format("{:.0f}ms", 1000 * t.first_token_seconds)
                                    : format_duration(t.first_token_seconds));
  }
  if (t.drafted_tokens > 0) {
    line +=
        fmt::format(", accepted {} of {} drafted tokens, {:.2g} tokens a pass", t.accepted_tokens,
                    t.drafted_tokens, static_cast<double>(decoded) / static_cast<double>(t.passes));
  }
  if (t.reused_tokens > 0) {
    line += fmt::format(", {} of {} prompt tokens were in the cache", t.reused_tokens,
                        t.reused_tokens + t.prompt_tokens);
  }
  if (result.completions.size() == 1) {
    return line + ", " + describe_finish(result.completions.front(), tokenizer);
  }
  std::map<std::string_view, int64_t> reasons;
  for (const Completion& completion : result.completions) ++reasons[name(completion.reason)];
  line += fmt::format(", {} completions:", result.completions.size());
  for (const auto& [reason, count] : reasons) line += fmt::format(" {} {}", count, reason);
  return line;
}

json completion_json(const Completion& completion, const PromptInput& input,
                     std::span<const TokenId> ids, const GenerationConfig& config,
                     const GenerationTimings& timings, const Tokenizer& tokenizer) {
  json tokens = json::array();
  for (const GeneratedToken& token : completion.tokens) {
    tokens.push_back({{"id", token.id},
                      {"piece", tokenizer.piece(token.id)},
                      {"text", replace_invalid_utf8(tokenizer.token_bytes(token.id))},
                      {"logprob", token.logprob},
                      {"sampled_logprob", token.sampled_logprob}});
  }
  return {{"prompt", prompt_json(input)},
          {"prompt_index", completion.prompt},
          {"prompt_tokens", std::vector<TokenId>(ids.begin(), ids.end())},
          {"sample", completion.sample},
          {"text", text_of(completion)},
          {"finish_reason", std::string(name(completion.reason))},
          {"finish_detail", finish_json(completion, tokenizer)},
          {"tokens", std::move(tokens)},
          {"seed", config.seed},
          {"sampler", to_json(parse_yaml(describe_chain(config), "sampler"))},
          {"timings",
           {{"first_token_seconds", timings.first_token_seconds},
            {"prefill_seconds", timings.prefill_seconds},
            {"decode_seconds", timings.decode_seconds},
            {"sampling_seconds", timings.sampling_seconds},
            {"draft_seconds", timings.draft_seconds},
            {"passes", timings.passes},
            {"drafted_tokens", timings.drafted_tokens},
            {"accepted_tokens", timings.accepted_tokens},
            {"reused_prompt_tokens", timings.reused_tokens},
            {"batch_prompt_tokens", timings.prompt_tokens},
            {"batch_tokens", timings.decoded_tokens}}}};
}

std::string text_of(const Completion& completion) {
  return replace_invalid_utf8(completion.text_bytes);
}

void log_dim(std::string_view text) {
  if (stderr_console().has_colour()) {
    log_info("\x1b[2m{}\x1b[0m", text);
  } else {
    log_info("{}", text);
  }
}

}  // namespace continuo
