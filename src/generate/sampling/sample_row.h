// From a row of logits to a token: a chain shapes it, a draw decides.
#pragma once

#include <functional>
#include <span>

#include "generate/sampling/partial_row.h"
#include "generate/sampling/sampler_chain.h"

namespace continuo {

// A row [vocabulary or more] as it is at hand. `whole` is borrowed, as is what `top` points at; a
// row that lies on a device is fetched by `whole`, where its most probable tokens do not decide or
// are of another vocabulary than the context's.
struct LogitRow {
  std::function<std::span<const float>()> whole;
  const TopLogits* top = nullptr;
};

// Of all its logits.
inline LogitRow whole_row(std::span<const float> logits) {
  return {.whole = [logits] { return logits; }};
}

struct SampledToken {
  Drawn drawn;
  double raw_logprob = 0;  // under the model's own law, with a head's surplus rows in it
};

// `chain` accepts the token. `scratch` is memory to work in. Error: no token can be drawn; then the
// chain has accepted nothing.
SampledToken sample_row(const LogitRow& row, SamplerChain& chain, const StageContext& context,
                        Candidates& scratch);

}  // namespace continuo
