#include "generate/generator.h"

#include <algorithm>

#include "core/error.h"
#include "generate/generation_run.h"

namespace continuo {

Generator::Generator(Executor& executor, Vocabulary vocabulary, const GenerationConfig& config,
                     const GenerationAids& aids)
    : plan_{.executor = executor,
            .vocabulary = std::move(vocabulary),
            .config = config,
            .aids = aids} {
  Problems problems;
  validate(plan_.config, problems);
  problems.raise();
  if (drafts_by_model(plan_.config) && !plan_.aids.drafter)
    fail("draft: the model {} was not opened", plan_.config.draft);
  if (!plan_.config.eos.empty()) {
    // What ended sequences until now stays special: penalties go on sparing it.
    plan_.vocabulary.specials.insert(plan_.vocabulary.specials.end(), plan_.vocabulary.eos.begin(),
                                     plan_.vocabulary.eos.end());
    plan_.vocabulary.eos.clear();
    for (int64_t id : plan_.config.eos) {
      if (id < 0 || id >= plan_.vocabulary.size) {
        fail("eos: token id {} is not in the vocabulary of {} tokens", id, plan_.vocabulary.size);
      }
      plan_.vocabulary.eos.push_back(static_cast<TokenId>(id));
    }
  }
  plan_.chain = SamplerChain(resolve_chain(plan_.config), plan_.vocabulary);
  plan_.stops = std::make_shared<StopStrings>(plan_.config.stop);
  plan_.context = plan_.executor.spec().context;
  if (plan_.config.context) plan_.context = std::min(plan_.context, *plan_.config.context);
}

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
    if (static_cast<int64_t>(prompts[i].size()) > plan_.context) {
      throw Error(fmt::format("prompt {} has {} tokens, the context holds {}", i, prompts[i].size(),
                              plan_.context),
                  "shorten the prompt, or use a model with a longer context");
    }
    for (TokenId id : prompts[i]) {
      if (id < 0 || id >= plan_.vocabulary.size) {
        fail("prompt {}: token id {} is not in the vocabulary of {} tokens", i, id,
             plan_.vocabulary.size);
      }
    }
  }
  return GenerationRun(plan_, prompts, on_token, interrupted, keys).run();
}

}  // namespace continuo
