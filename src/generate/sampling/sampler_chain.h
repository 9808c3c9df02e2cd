// The stages of one sequence in order. Every sequence samples with its own clone, so state never
// crosses sequences.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "generate/sampling/chain_config.h"
#include "generate/sampling/stage.h"

namespace continuo {

class SamplerChain {
 public:
  SamplerChain() = default;
  // Error: what `bind` of a stage finds.
  SamplerChain(const std::vector<WrittenStage>& stages, const Vocabulary& vocabulary);

  // Error, naming the stage: it left no token, or a logit became NaN.
  void apply(Candidates& row, const StageContext& context);
  void accept(const Drawn& drawn);
  SamplerChain clone() const;

 private:
  struct Named {
    std::string_view name;
    std::unique_ptr<SamplerStage> stage;
  };
  std::vector<Named> stages_;
};

}  // namespace continuo
