// Draws a token from the row that the stages left. The draw is a keyed Gumbel-max: every surviving
// token has its own noise, a pure function of (seed, sequence, sample, position, token id), and the
// token with the highest logit + noise wins. So the result depends neither on the batch nor on the
// order of the row, and two rows that nearly agree draw the same token more often than with any
// other coupling of this cost (inverting one uniform couples far worse).
#pragma once

#include <span>

#include "generate/sampling/candidates.h"
#include "generate/sampling/noise.h"
#include "generate/sampling/stage.h"

namespace continuo {

// `row` is not empty.
Drawn draw(const Candidates& row, const Noise& noise, uint64_t position);

// log-softmax of the whole row at `token`, within 2e-6; −inf entries are allowed.
double raw_logprob(std::span<const float> logits, TokenId token);

}  // namespace continuo
