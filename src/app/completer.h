// A model directory ready to answer: prompts' ids in, completions out, under any settings. Output
// is the business of its callers.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/draft_choice.h"
#include "app/model_directory.h"
#include "generate/cached_decoder.h"
#include "generate/generator.h"

namespace continuo {

class Completer {
 public:
  explicit Completer(OpenModel model);

  // The `generation:` section of the checkpoint's experiment.yaml, or the defaults; one that cannot
  // be read is named in a warning and passed over.
  GenerationConfig defaults() const;

  // Error: settings that this vocabulary does not allow; a draft model that cannot be opened.
  void check(const GenerationConfig& config);
  // Ends early at an interrupt. What prompts have in common with the last sequence of the call
  // before is not prefilled again. The noise of a prompt depends on its ids alone, so it gets the
  // same completion in any company.
  GenerationResult complete(std::span<const std::vector<TokenId>> prompts,
                            const GenerationConfig& config, const OnToken& on_token = {});

  const std::filesystem::path& path() const { return model_.path; }
  const Tokenizer& tokenizer() const { return *model_.tokenizer; }
  const PromptTemplate& prompt() const { return model_.prompt; }

 private:
  GenerationAids aids(const GenerationConfig& config);

  ModelDirectory model_;
  Vocabulary vocabulary_;
  ServedModel served_;
  DraftChoice draft_;
  std::unique_ptr<CachedDecoder> resident_;
};

}  // namespace continuo
