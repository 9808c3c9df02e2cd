// One completion in the making: its tokens, its sampler state, its stops. Draws from rows of logits
// and says when it is done. Knows neither the model nor the other sequences.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "generate/completion.h"
#include "generate/sampling/noise.h"
#include "generate/sampling/sample_row.h"
#include "generate/stop_matcher.h"

namespace continuo {

// How the sequences of a request go on and end.
struct SequenceRules {
  std::shared_ptr<const Vocabulary> vocabulary;
  int64_t max_new_tokens = 256;
  int64_t context = 0;
  bool ignore_eos = false;
  SamplerChain chain = {};  // as every sequence begins with it
  std::shared_ptr<const StopStrings> stops = {};
};

class Sequence {
 public:
  Sequence(std::shared_ptr<const SequenceRules> rules, std::span<const TokenId> prompt,
           const Noise& noise);

  // Shapes the row and draws. `scratch` is memory to work in. Touches nothing but this sequence and
  // the row, so several may sample at once. Where no token can be drawn the completion says so, and
  // `accept` ends it.
  void sample(const LogitRow& row, Candidates& scratch);

  // Takes the token just drawn into the completion → bytes that became final. Afterwards
  // `finished()` may be true.
  std::string accept();

  // Ends the completion from outside → bytes that were held back.
  std::string finish(FinishReason reason);

  bool finished() const { return finished_; }
  // Tokens that may yet be drawn.
  int64_t remaining() const;
  TokenId last_token() const { return history_.back(); }
  int64_t length() const { return static_cast<int64_t>(history_.size()); }
  std::span<const TokenId> history() const { return history_; }  // prompt ++ completion
  size_t prompt_length() const { return prompt_length_; }
  const SamplerChain& chain() const { return chain_; }
  const Noise& noise() const { return noise_; }
  Completion& completion() { return completion_; }

  int64_t cache_id = -1;

 private:
  std::shared_ptr<const SequenceRules> rules_;
  std::vector<TokenId> history_;  // prompt ++ completion
  size_t prompt_length_;
  Noise noise_;
  SamplerChain chain_;
  StopMatcher matcher_;
  Completion completion_;
  bool finished_ = false;
};

}  // namespace continuo
