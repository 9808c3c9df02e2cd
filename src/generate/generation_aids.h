// What a generator may be given beside its configuration.
#pragma once

#include <cstdint>

#include "nn/executor.h"

namespace continuo {

class CachedDecoder;
class Drafter;

// All of it outlives the generator.
struct GenerationAids {
  // Of the same executor: prompts begin with what is left in it from the call before, and the last
  // sequence stays there.
  CachedDecoder* resident = nullptr;
  int64_t adapter = kNoAdapter;  // of the executor, for all prompts
  Drafter* drafter = nullptr;    // in place of the config's; needed when config.draft names a model
};

}  // namespace continuo
