#include "generate/generator.h"

#include <algorithm>
#include <exception>

#include "core/error.h"
#include "core/process.h"
#include "generate/draft/prompt_lookup.h"
#include "generate/scheduler.h"

namespace continuo {
namespace {

// Puts every completion in its place, and passes tokens on. What a callback throws waits until the
// scheduler is done with the step.
class Collector : public Sink {
 public:
  Collector(GenerationResult& result, int64_t samples, const OnToken& on_token)
      : result_(result), samples_(samples), on_token_(on_token) {}

  bool token(const Completion& so_far, std::string_view bytes) noexcept override {
    if (!on_token_ || failure_) return !failure_;
    try {
      on_token_(so_far, bytes);
    } catch (...) {
      failure_ = std::current_exception();
    }
    return !failure_;
  }
  void finished(Completion&& completion) noexcept override {
    const auto place = static_cast<size_t>(completion.prompt * samples_ + completion.sample);
    result_.completions[place] = std::move(completion);
  }
  void raise() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  GenerationResult& result_;
  int64_t samples_;
  const OnToken& on_token_;
  std::exception_ptr failure_;
};

// What ended sequences until now stays special where others are to: penalties go on sparing it.
void replace_ends(Vocabulary& vocabulary, const std::vector<int64_t>& ends) {
  vocabulary.specials.insert(vocabulary.specials.end(), vocabulary.eos.begin(),
                             vocabulary.eos.end());
  vocabulary.eos.clear();
  for (const int64_t id : ends) {
    if (id < 0 || id >= vocabulary.size)
      fail("eos: token id {} is not in the vocabulary of {} tokens", id, vocabulary.size);
    vocabulary.eos.push_back(static_cast<TokenId>(id));
  }
}

}  // namespace

Generator::Generator(Executor& executor, Vocabulary vocabulary, const GenerationConfig& config,
                     const GenerationAids& aids)
    : executor_(executor), config_(config), aids_(aids) {
  Problems problems;
  validate(config_, problems);
  problems.raise();
  if (drafts_by_model(config_) && !aids_.drafter)
    fail("draft: the model {} was not opened", config_.draft);
  if (!config_.eos.empty()) replace_ends(vocabulary, config_.eos);
  auto rules = std::make_shared<SequenceRules>();
  const int64_t context = executor_.spec().context;
  rules->max_new_tokens = config_.max_new_tokens;
  rules->context = std::min(context, config_.context.value_or(context));
  rules->ignore_eos = config_.ignore_eos;
  rules->chain = SamplerChain(resolve_chain(config_), vocabulary);
  rules->stops = std::make_shared<StopStrings>(config_.stop);
  rules->vocabulary = std::make_shared<const Vocabulary>(std::move(vocabulary));
  rules_ = std::move(rules);
}

GenerationResult Generator::generate(std::span<const std::vector<TokenId>> prompts,
                                     const OnToken& on_token,
                                     const std::function<bool()>& interrupted,
                                     std::span<const uint64_t> keys) {
  const int64_t size = rules_->vocabulary->size;
  if (prompts.empty()) fail("there is no prompt to continue");
  if (!keys.empty() && keys.size() != prompts.size()) {
    fail("{} sequence keys for {} prompts", keys.size(), prompts.size());
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty()) {
      throw Error(fmt::format("prompt {} is empty", i), "begin it with at least the BOS token");
    }
    if (std::ssize(prompts[i]) > rules_->context) {
      throw Error(fmt::format("prompt {} has {} tokens, the context holds {}", i, prompts[i].size(),
                              rules_->context),
                  "shorten the prompt, or use a model with a longer context");
    }
    for (const TokenId id : prompts[i]) {
      if (id < 0 || id >= size)
        fail("prompt {}: token id {} is not in the vocabulary of {} tokens", i, id, size);
    }
  }

  GenerationResult result;
  result.completions.resize(prompts.size() * static_cast<size_t>(config_.samples));
  const auto collector = std::make_shared<Collector>(result, config_.samples, on_token);
  std::optional<CachedDecoder> own_decoder;
  if (!aids_.resident) own_decoder.emplace(executor_);
  std::optional<PromptLookup> lookup;
  if (config_.draft == kDraftLookup) lookup.emplace(config_.draft_ngram);
  Scheduler scheduler(own_decoder ? *own_decoder : *aids_.resident,
                      {.max_batch = config_.max_batch, .prefill_chunk = config_.prefill_chunk},
                      lookup ? &*lookup : aids_.drafter);
  const double start = seconds_now();
  for (size_t i = 0; i < prompts.size(); ++i) {
    Request request = {.prompt = prompts[i], .rules = rules_, .sink = collector};
    request.seed = static_cast<uint64_t>(config_.seed);
    request.key = keys.empty() ? i : keys[i];
    request.index = static_cast<int64_t>(i);
    request.samples = config_.samples;
    request.adapter = aids_.adapter;
    request.draft_tokens = config_.draft_tokens;
    if (config_.time_limit) request.deadline = start + *config_.time_limit;
    scheduler.submit(std::move(request));
  }
  do {
    if (interrupted && interrupted()) scheduler.finish_all(FinishReason::kInterrupted);
  } while (scheduler.step());
  collector->raise();
  result.timings = scheduler.timings();
  return result;
}

}  // namespace continuo
