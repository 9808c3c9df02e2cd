// Prompts (ids) → completions (ids). Prefill and cached decode over a ragged batch of sequences;
// sampling by a chain of stages; every way to stop is a distinct reason. Knows no text: stop
// strings work on the bytes that the vocabulary gives.
//
// What a sequence draws depends on its prompt, key, sample and seed alone: every prompt is
// prefilled by itself, and noise and stage state belong to the sequence. Drafts (drafter.h) change
// how many passes it takes and nothing else: on the CPU each of up to kInvariantRows rows of a pass
// (nn/invariant_rows.h) has the bits that it has alone. In larger passes, on other devices, and
// with soft-capped attention (Gemma 2), the rounding of a row depends on its company and may tip a
// draw that is nearly a tie.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/generation_config.h"
#include "generate/sampler_chain.h"
#include "generate/stop_matcher.h"
#include "generate/vocabulary.h"
#include "nn/decoder.h"

namespace continuo {

enum class FinishReason { kEos, kStop, kLength, kContext, kTime, kInterrupted };
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
};

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

class CachedDecoder;
class Drafter;

// What a generator may be given; all of it outlives the generator.
struct GenerationAids {
  // Of the same decoder: prompts begin with what is left in it from the call before, and the last
  // sequence stays there. Exact where every pass goes through the decode engine (8- and 4-bit
  // weights; prefill_chunk ≤ kInvariantRows), else up to rounding, as for other values of
  // prefill_chunk.
  CachedDecoder* resident = nullptr;
  Drafter* drafter = nullptr;  // in place of the config's; needed when config.draft names a model
};

struct GenerationResult {
  std::vector<Completion> completions;  // prompt-major, then sample
  GenerationTimings timings;
};

class Generator {
 public:
  // Error: faults of the config; ids or texts of stages that the vocabulary does not know; a draft
  // model that is named and not given.
  Generator(Decoder& decoder, Vocabulary vocabulary, const GenerationConfig& config,
            const GenerationAids& aids = {});
  ~Generator();
  Generator(Generator&&) noexcept;

  // Called for every token as it is accepted, with the bytes that became final with it (stop
  // strings held back), and with whatever was held back when the completion ends without a stop
  // string. `so_far.text_bytes` already holds the bytes.
  using OnToken = std::function<void(const Completion& so_far, std::string_view bytes)>;

  // `keys` name the prompts' noise (default: their indices), so that a prompt gives the same
  // completion wherever it stands. `interrupted` is asked once a step.
  // Error: no prompt, an empty prompt, a prompt longer than the context, keys of another number;
  // faulty logits and stages that leave no token, naming prompt, sample and position.
  GenerationResult generate(std::span<const std::vector<TokenId>> prompts,
                            const OnToken& on_token = {},
                            const std::function<bool()>& interrupted = {},
                            std::span<const uint64_t> keys = {});

  int64_t context() const { return context_; }

 private:
  friend class GenerationRun;

  Decoder& decoder_;
  Vocabulary vocabulary_;
  GenerationConfig config_;
  GenerationAids aids_;
  SamplerChain chain_;  // as every sequence begins with it
  std::shared_ptr<const StopStrings> stops_;
  int64_t context_;
};

}  // namespace continuo
