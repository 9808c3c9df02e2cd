// What generation gives for a prompt: tokens, text, why it ended, and what it took.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/sampling/vocabulary.h"

namespace continuo {

// kError: logits that are not numbers, or stages that leave no token; `error` says which.
enum class FinishReason { kEos, kStop, kLength, kContext, kTime, kInterrupted, kError };
std::string_view name(FinishReason reason);  // "eos", "stop", …

struct GeneratedToken {
  TokenId id = 0;
  double logprob = 0;          // log-softmax of the model's own logits
  double sampled_logprob = 0;  // under the law that was drawn from
};

struct Completion {
  int64_t prompt = 0;                  // index of the prompt
  int64_t sample = 0;                  // 0 … n-1
  std::vector<GeneratedToken> tokens;  // all that were drawn, an end-of-sequence token included
  std::string text_bytes;              // visible bytes up to the stop
  FinishReason reason = FinishReason::kLength;
  TokenId stop_token = -1;   // kEos: which one
  int64_t stop_offset = -1;  // kStop: byte offset of the match in the completion
  std::string stop_string;   // kStop: which one
  std::string error;         // kError: what, and where
};

// Called for every token as it is accepted, with the bytes that became final with it (stop strings
// held back), and with whatever was held back when the completion ends without a stop string.
// `so_far.text_bytes` already holds the bytes.
using OnToken = std::function<void(const Completion& so_far, std::string_view bytes)>;

struct GenerationTimings {
  double prefill_seconds = 0, decode_seconds = 0;  // of the model, head included
  double sampling_seconds = 0;                     // stages, draws and stops
  double first_token_seconds = 0;                  // from the call to the first token
  double draft_seconds = 0;                        // of the drafter
  int64_t prompt_tokens = 0;                       // prefilled
  int64_t reused_tokens = 0;                       // of prompts, found in the resident cache
  int64_t decoded_tokens = 0;                      // drawn
  int64_t passes = 0;                              // over each sequence after its prompt
  int64_t drafted_tokens = 0, accepted_tokens = 0;
};

struct GenerationResult {
  std::vector<Completion> completions;  // prompt-major, then sample
  GenerationTimings timings;
};

}  // namespace continuo
