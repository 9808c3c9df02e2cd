// Prompts (ids) → completions (ids). Prefill and cached decode over a ragged batch of sequences; sampling by a chain of
// stages; every way to stop is a distinct reason. Knows no text: stop strings work on the bytes that a callback gives.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "generate/generation_config.h"
#include "nn/decoder.h"

namespace continuo {

using TokenId = int32_t;

enum class FinishReason { kEos, kStop, kLength, kContext, kTime, kInterrupted };

struct GeneratedToken {
  TokenId id = 0;
  double logprob = 0;          // log-softmax of the raw logits
  double sampled_logprob = 0;  // under the law that was drawn from
};

struct Completion {
  int64_t prompt = 0;  // index of the prompt
  int64_t sample = 0;  // 0 … n-1
  std::vector<GeneratedToken> tokens;
  std::string text_bytes;  // bytes of the tokens up to the stop
  FinishReason reason = FinishReason::kLength;
  TokenId stop_token = -1;       // kEos: which one
  int64_t stop_offset = -1;      // kStop: byte offset of the match in the completion
  std::string stop_string;
};

struct GenerationTimings {
  double prefill_seconds = 0, decode_seconds = 0;
  int64_t prompt_tokens = 0, decoded_tokens = 0;
};

struct GenerationResult {
  std::vector<Completion> completions;  // prompt-major, then sample
  GenerationTimings timings;
};

// What the generator must know of a vocabulary, without knowing text.
struct Vocabulary {
  int64_t size = 0;
  std::vector<TokenId> eos;                                // all ids that end a sequence
  std::function<std::string(TokenId)> token_bytes;         // for stop strings and DRY breakers
  std::function<std::vector<TokenId>(std::string_view)> encode;  // banned words, logit bias by string
};

class Generator {
 public:
  Generator(Decoder& decoder, Vocabulary vocabulary, GenerationConfig config);

  // Called for every token as it is accepted, with the bytes that are now final (stop strings held back).
  using OnToken = std::function<void(const Completion& so_far, std::string_view bytes)>;

  // Error: empty prompt list, prompt longer than the context, NaN logits (naming prompt and position).
  GenerationResult generate(std::span<const std::vector<TokenId>> prompts, const OnToken& on_token = {},
                            const std::function<bool()>& interrupted = {});
};

}  // namespace continuo
