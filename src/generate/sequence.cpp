#include "generate/sequence.h"

#include <algorithm>

#include "core/error.h"

namespace continuo {

Sequence::Sequence(std::shared_ptr<const SequenceRules> rules, std::span<const TokenId> prompt,
                   const Noise& noise)
    : rules_(std::move(rules)),
      history_(prompt.begin(), prompt.end()),
      prompt_length_(prompt.size()),
      noise_(noise),
      chain_(rules_->chain.clone()),
      matcher_(rules_->stops) {}

void Sequence::sample(const LogitRow& row, Candidates& scratch) {
  const StageContext context{.history = history_,
                             .prompt_length = prompt_length_,
                             .vocabulary = *rules_->vocabulary,
                             .noise = noise_};
  try {
    const auto& [drawn, raw] = sample_row(row, chain_, context, scratch);
    completion_.tokens.push_back({drawn.id, raw, drawn.logprob});
  } catch (const Error& error) {
    completion_.error = fmt::format("prompt {}, sample {}, position {}: {}", completion_.prompt,
                                    completion_.sample, context.position(), error.what());
  }
}

std::string Sequence::accept() {
  if (!completion_.error.empty()) return finish(FinishReason::kError);
  const TokenId id = completion_.tokens.back().id;
  history_.push_back(id);
  if (!rules_->ignore_eos && rules_->vocabulary->is_eos(id)) {
    completion_.stop_token = id;
    return finish(FinishReason::kEos);
  }
  StopMatcher::Result result;
  const Vocabulary& v = *rules_->vocabulary;
  const std::string bytes = v.token_bytes ? v.token_bytes(id) : std::string();
  if (!bytes.empty()) {
    result = matcher_.push(bytes);
  } else if (v.special_text) {
    result = matcher_.push(v.special_text(id), false);
  }
  completion_.text_bytes += result.bytes;
  if (result.match) {
    completion_.reason = FinishReason::kStop;
    completion_.stop_string = result.match->stop;
    completion_.stop_offset = result.match->offset;
    finished_ = true;
    return result.bytes;
  }
  if (static_cast<int64_t>(completion_.tokens.size()) >= rules_->max_new_tokens) {
    return result.bytes + finish(FinishReason::kLength);
  }
  if (length() >= rules_->context) return result.bytes + finish(FinishReason::kContext);
  return result.bytes;
}

int64_t Sequence::remaining() const {
  const auto drawn = static_cast<int64_t>(completion_.tokens.size());
  return std::min(rules_->max_new_tokens - drawn, rules_->context - length());
}

std::string Sequence::finish(FinishReason reason) {
  completion_.reason = reason;
  finished_ = true;
  std::string rest = matcher_.flush();
  completion_.text_bytes += rest;
  return rest;
}

}  // namespace continuo
