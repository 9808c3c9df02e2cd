// Speculative decoding: a drafter proposes what a sequence may draw next, the model looks at all
// proposed tokens in one pass, and those are kept that the sequence draws by itself. A drafter
// therefore changes how long a completion takes and never what it is.
//
// Leviathan et al., Fast Inference from Transformers via Speculative Decoding, arXiv:2211.17192.
// Instead of their rejection sampling the noise is shared: a token is accepted when it is the one
// that is drawn with the noise of its position (Gumbel coupling; Daliri et al., arXiv:2408.07978),
// so completions are those of plain sampling, token by token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "generate/draft/acceptance.h"
#include "generate/sampling/noise.h"
#include "generate/sampling/sampler_chain.h"

namespace continuo {

// A sequence as a drafter sees it.
struct DraftQuery {
  int64_t sequence = 0;              // its name from the first draft until `forget`
  std::span<const TokenId> history;  // prompt ++ completion; only grows
  size_t prompt_length = 0;
  int64_t limit = 0;                    // tokens at most
  DraftCost cost;                       // of looking at drafted tokens
  double pass_cost = 1;                 // CachedDecoder::pass_cost of the model that looks at them
  const SamplerChain* chain = nullptr;  // as it stands before the next token
  const Noise* noise = nullptr;
};

class Drafter {
 public:
  virtual ~Drafter() = default;

  // For each query up to `limit` tokens that may follow its history; none where nothing promising
  // is at hand.
  virtual std::vector<std::vector<TokenId>> draft(std::span<const DraftQuery> queries) = 0;
  // What became of the last draft of a sequence: its first `accepted` tokens were drawn, and the
  // next one was not, if `rejected`; whether further ones would have been is unknown.
  virtual void learn(int64_t sequence, int64_t accepted, bool rejected) = 0;
  virtual void forget(int64_t sequence) = 0;
};

}  // namespace continuo
