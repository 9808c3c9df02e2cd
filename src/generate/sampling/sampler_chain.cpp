#include "generate/sampling/sampler_chain.h"

#include "core/error.h"

namespace continuo {

SamplerChain::SamplerChain(const std::vector<WrittenStage>& stages, const Vocabulary& vocabulary) {
  Problems problems;
  for (const WrittenStage& written : stages) {
    stages_.push_back(
        {written.spec->name, written.spec->make(written.params, problems, written.path)});
  }
  problems.raise();
  for (Named& named : stages_) named.stage->bind(vocabulary);
}

void SamplerChain::apply(Candidates& row, const StageContext& context) {
  for (Named& named : stages_) {
    try {
      named.stage->apply(row, context);
    } catch (const Error& error) {
      fail("the stage {} failed: {}", named.name, error.what());
    }
    if (row.empty()) {
      throw Error(fmt::format("the stage {} left no token to draw", named.name),
                  "relax it, or put it before the stages that truncate");
    }
  }
}

void SamplerChain::accept(const Drawn& drawn) {
  for (Named& named : stages_) named.stage->accept(drawn);
}

SamplerChain SamplerChain::clone() const {
  SamplerChain copy;
  for (const Named& named : stages_) copy.stages_.push_back({named.name, named.stage->clone()});
  return copy;
}

}  // namespace continuo
