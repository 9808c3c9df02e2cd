// Prompts (ids) → completions (ids). Prefill and cached decode over a ragged batch of sequences;
// sampling by a chain of stages; every way to stop is a distinct reason. Knows no text: stop
// strings work on the bytes that the vocabulary gives.
//
// What a sequence draws depends on its prompt, key, sample and seed alone: noise and stage state
// belong to the sequence. All prompts are requests of one scheduler (scheduler.h). Drafts
// (drafter.h) change how many passes it takes and nothing else: in the CPU's engine each row of a
// pass has the bits that it has alone. Elsewhere the rounding of a row depends on its company and
// may tip a draw that is nearly a tie.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "generate/completion.h"
#include "generate/generation_aids.h"
#include "generate/generation_config.h"
#include "generate/sequence.h"

namespace continuo {

class Generator {
 public:
  // Error: faults of the config; ids or texts of stages that the vocabulary does not know; a draft
  // model that is named and not given.
  Generator(Executor& executor, Vocabulary vocabulary, const GenerationConfig& config,
            const GenerationAids& aids = {});

  // `keys` name the prompts' noise (default: their indices), so that a prompt gives the same
  // completion wherever it stands. `interrupted` is asked once a step.
  // A completion for which no token can be drawn ends alone, with its `error`. Error: no prompt, an
  // empty prompt, a prompt longer than the context, keys of another number.
  GenerationResult generate(std::span<const std::vector<TokenId>> prompts,
                            const OnToken& on_token = {},
                            const std::function<bool()>& interrupted = {},
                            std::span<const uint64_t> keys = {});

  int64_t context() const { return rules_->context; }

 private:
  Executor& executor_;
  GenerationConfig config_;
  GenerationAids aids_;
  std::shared_ptr<const SequenceRules> rules_;
};

}  // namespace continuo
