#include "generate/generator.h"

#include <algorithm>

#include <ATen/core/grad_mode.h>

#include "core/error.h"
#include "generate/generation_run.h"

namespace continuo {
namespace {

// Evaluation mode for as long as this lives.
class EvalMode {
 public:
  explicit EvalMode(Decoder& decoder) : decoder_(decoder), was_training_(decoder.is_training()) {
    if (was_training_) decoder_.eval();
  }
  ~EvalMode() {
    if (was_training_) decoder_.train();
  }
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  Decoder& decoder_;
  bool was_training_;
};

}  // namespace

std::string_view name(FinishReason reason) {
  constexpr std::string_view kNames[] = {"eos", "stop", "length", "context", "time", "interrupted"};
  return kNames[static_cast<size_t>(reason)];
}

Generator::Generator(Decoder& decoder, Vocabulary vocabulary, const GenerationConfig& config,
                     const GenerationAids& aids)
    : decoder_(decoder), vocabulary_(std::move(vocabulary)), config_(config), aids_(aids) {
  Problems problems;
  validate(config_, problems);
  problems.raise();
  if (drafts_by_model(config_) && !aids_.drafter)
    fail("draft: the model {} was not opened", config_.draft);
  if (!config_.eos.empty()) {
    // What ended sequences until now stays special: penalties go on sparing it.
    vocabulary_.specials.insert(vocabulary_.specials.end(), vocabulary_.eos.begin(),
                                vocabulary_.eos.end());
    vocabulary_.eos.clear();
    for (int64_t id : config_.eos) {
      if (id < 0 || id >= vocabulary_.size) {
        fail("eos: token id {} is not in the vocabulary of {} tokens", id, vocabulary_.size);
      }
      vocabulary_.eos.push_back(static_cast<TokenId>(id));
    }
  }
  chain_ = SamplerChain(resolve_chain(config_), vocabulary_);
  stops_ = std::make_shared<StopStrings>(config_.stop);
  context_ = decoder_.shape().context;
  if (config_.context) context_ = std::min(context_, *config_.context);
}

Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;

GenerationResult Generator::generate(std::span<const std::vector<TokenId>> prompts,
                                     const OnToken& on_token,
                                     const std::function<bool()>& interrupted,
                                     std::span<const uint64_t> keys) {
  if (prompts.empty()) fail("there is no prompt to continue");
  if (!keys.empty() && keys.size() != prompts.size()) {
    fail("{} sequence keys for {} prompts", keys.size(), prompts.size());
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty()) {
      throw Error(fmt::format("prompt {} is empty", i), "begin it with at least the BOS token");
    }
    if (static_cast<int64_t>(prompts[i].size()) > context_) {
      throw Error(fmt::format("prompt {} has {} tokens, the context holds {}", i, prompts[i].size(),
                              context_),
                  "shorten the prompt, or use a model with a longer context");
    }
    for (TokenId id : prompts[i]) {
      if (id < 0 || id >= vocabulary_.size) {
        fail("prompt {}: token id {} is not in the vocabulary of {} tokens", i, id,
             vocabulary_.size);
      }
    }
  }
  const at::NoGradGuard
      no_grad;  // not InferenceMode: tables that the model caches must stay trainable
  const EvalMode eval(decoder_);
  return GenerationRun(*this, prompts, on_token, interrupted, keys).run();
}

}  // namespace continuo
