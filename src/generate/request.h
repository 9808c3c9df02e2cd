// What a scheduler is asked for: a prompt and everything that decides how it goes on. Requests know
// nothing of each other.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "generate/completion.h"
#include "generate/sequence.h"
#include "nn/executor.h"

namespace continuo {

// Where the completions of a request go. Called on the thread that steps the scheduler: it must
// neither block nor throw.
class Sink {
 public:
  virtual ~Sink() = default;

  // A token as it is accepted, with the bytes that became final with it (stop strings held back),
  // and whatever was held back when the completion ends without a stop string.
  // `so_far.text_bytes` already holds the bytes. False: it can take no more, which cancels the
  // request.
  virtual bool token(const Completion& so_far, std::string_view bytes) noexcept = 0;
  // Once for every sample, whatever became of it.
  virtual void finished(Completion&& completion) noexcept = 0;
};

struct Request {
  std::vector<TokenId> prompt;  // not empty, ids of the vocabulary
  std::shared_ptr<const SequenceRules> rules;
  uint64_t seed = 0;
  uint64_t key = 0;   // names the prompt's noise
  int64_t index = 0;  // the completions' `prompt`
  int64_t samples = 1;
  int64_t adapter = kNoAdapter;         // of the executor
  int64_t priority = 0;                 // higher ones are admitted first
  int64_t draft_tokens = 0;             // in a pass at most
  std::optional<double> deadline = {};  // of the steady clock (core/process.h)
  std::shared_ptr<Sink> sink;
};

}  // namespace continuo
