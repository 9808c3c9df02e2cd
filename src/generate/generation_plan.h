// What a generator has made of its configuration, for the runs that follow it. Knows no prompt.
#pragma once

#include <cstdint>
#include <memory>

#include "generate/generation_config.h"
#include "generate/sampling/sampler_chain.h"
#include "generate/sampling/vocabulary.h"
#include "generate/stop_matcher.h"
#include "nn/executor.h"

namespace continuo {

class CachedDecoder;
class Drafter;

// What a generator may be given; all of it outlives the generator.
struct GenerationAids {
  // Of the same executor: prompts begin with what is left in it from the call before, and the last
  // sequence stays there.
  CachedDecoder* resident = nullptr;
  int64_t adapter = kNoAdapter;  // of the executor, for all prompts
  Drafter* drafter = nullptr;    // in place of the config's; needed when config.draft names a model
};

struct GenerationPlan {
  Executor& executor;
  Vocabulary vocabulary;
  GenerationConfig config;
  GenerationAids aids;
  SamplerChain chain = {};  // as every sequence begins with it
  std::shared_ptr<const StopStrings> stops = {};
  int64_t context = 0;
};

}  // namespace continuo
