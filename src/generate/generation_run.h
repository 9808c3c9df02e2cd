// One call of Generator::generate: a queue of prompts, a prefix whose samples are being admitted,
// and the live sequences that a pass advances by one token or, where a draft was right, by several.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "generate/cached_decoder.h"
#include "generate/draft/drafter.h"
#include "generate/generation_plan.h"
#include "generate/sequence.h"

namespace continuo {

class GenerationRun {
 public:
  // All of it outlives the run.
  GenerationRun(const GenerationPlan& plan, std::span<const std::vector<TokenId>> prompts,
                const OnToken& on_token, const std::function<bool()>& interrupted,
                std::span<const uint64_t> keys);
  ~GenerationRun();
  GenerationRun(const GenerationRun&) = delete;
  GenerationRun& operator=(const GenerationRun&) = delete;

  GenerationResult run();

 private:
  // A prompt in the cache with the logits after it, kept until all its samples are admitted.
  struct Prefix {
    int64_t cache_id;
    at::Tensor logits;  // [1, V] float, CPU
  };
  using Drafts = std::vector<std::vector<TokenId>>;  // one for each live sequence

  std::optional<FinishReason> halted() const;
  size_t total() const { return result_.completions.size(); }
  size_t prompt_of(size_t index) const { return index / static_cast<size_t>(config_.samples); }
  int64_t name_of(Sequence& sequence) const;

  Sequence make_sequence(size_t index) const;
  bool admit_one();
  Prefix prefill(const std::vector<TokenId>& prompt);
  void step();
  Drafts draft();
  void draw(const at::Tensor& logits, size_t first, const Drafts& drafts);
  void retire(Sequence& sequence);
  void end(Sequence& sequence, FinishReason reason);
  void finish_all(FinishReason reason);

  const GenerationPlan& plan_;
  const GenerationConfig& config_;
  std::span<const std::vector<TokenId>> prompts_;
  const OnToken& on_token_;
  const std::function<bool()>& interrupted_;
  std::span<const uint64_t> keys_;
  std::unique_ptr<CachedDecoder> own_decoder_;  // unless the generator was given one
  CachedDecoder& decoder_;
  std::unique_ptr<Drafter> own_drafter_;
  Drafter* drafter_;  // nullptr: one token a pass
  PassTime pass_time_;
  double pass_cost_ = 1;
  SequenceRules rules_;
  double start_;
  size_t next_ = 0;  // completion that is admitted next
  std::optional<Prefix> prefix_;
  std::vector<Sequence> live_;
  std::vector<Candidates> scratch_;
  GenerationResult result_;
};

}  // namespace continuo
