// The draft model that generation settings name, opened when it is first asked for and kept until
// they name another.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "app/model_directory.h"
#include "generate/draft/draft_model.h"
#include "generate/generation_config.h"

namespace continuo {

class DraftChoice {
 public:
  // nullptr where the settings name no model. `served`: how the target is. Error: no model there;
  // one whose tokenizer is not `target`'s; weights that it cannot have.
  Drafter* drafter(const ModelDirectory& target, const ExecutorOptions& served,
                   const Vocabulary& vocabulary, const GenerationConfig& config);

 private:
  std::pair<std::string, WeightChoice> opened_;  // the settings that `drafter_` was made for
  ServedModel model_;
  std::unique_ptr<DraftModel> drafter_;
};

}  // namespace continuo
