// What a generator has made of its configuration, for the runs that follow it. Knows no prompt.
#pragma once

#include <cstdint>
#include <memory>

#include "generate/generation_config.h"
#include "generate/sampling/sampler_chain.h"
#include "generate/sampling/vocabulary.h"
#include "generate/stop_matcher.h"
#include "nn/decoder.h"

namespace continuo {

class CachedDecoder;
class Drafter;

// What a generator may be given; all of it outlives the generator.
struct GenerationAids {
  // Of the same decoder: prompts begin with what is left in it from the call before, and the last
  // sequence stays there. Exact where every pass goes through the decode engine (8- and 4-bit
  // weights; prefill_chunk ≤ kInvariantRows), else up to rounding, as for other values of
  // prefill_chunk.
  CachedDecoder* resident = nullptr;
  Drafter* drafter = nullptr;  // in place of the config's; needed when config.draft names a model
};

struct GenerationPlan {
  Decoder& decoder;
  Vocabulary vocabulary;
  GenerationConfig config;
  GenerationAids aids;
  SamplerChain chain = {};  // as every sequence begins with it
  std::shared_ptr<const StopStrings> stops = {};
  int64_t context = 0;
};

}  // namespace continuo
