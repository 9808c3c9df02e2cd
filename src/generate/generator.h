// Prompts (ids) → completions (ids). Prefill and cached decode over a ragged batch of sequences;
// sampling by a chain of stages; every way to stop is a distinct reason. Knows no text: stop
// strings work on the bytes that the vocabulary gives.
//
// What a sequence draws depends on its prompt, key, sample and seed alone: every prompt is
// prefilled by itself, and noise and stage state belong to the sequence. Drafts (drafter.h) change
// how many passes it takes and nothing else: in the CPU's engine each row of a pass has the bits
// that it has alone. Elsewhere the rounding of a row depends on its company and may tip a draw that
// is nearly a tie.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "generate/completion.h"
#include "generate/generation_plan.h"

namespace continuo {

class Generator {
 public:
  // Error: faults of the config; ids or texts of stages that the vocabulary does not know; a draft
  // model that is named and not given.
  Generator(Executor& executor, Vocabulary vocabulary, const GenerationConfig& config,
            const GenerationAids& aids = {});

  // `keys` name the prompts' noise (default: their indices), so that a prompt gives the same
  // completion wherever it stands. `interrupted` is asked once a step.
  // Error: no prompt, an empty prompt, a prompt longer than the context, keys of another number;
  // faulty logits and stages that leave no token, naming prompt, sample and position.
  GenerationResult generate(std::span<const std::vector<TokenId>> prompts,
                            const OnToken& on_token = {},
                            const std::function<bool()>& interrupted = {},
                            std::span<const uint64_t> keys = {});

  int64_t context() const { return plan_.context; }

 private:
  GenerationPlan plan_;
};

}  // namespace continuo
