// What a step of training costs on any number of ranks, from the figures of a few: a model in which
// a message costs its latency and its bytes, and a rank sends one thing at a time.
#pragma once

#include <cstdint>
#include <limits>

namespace continuo {

struct RankFigures {
  double seconds_per_token = 0;  // forward and backward on one rank, gradients' copies included
  double update_seconds = 0;     // of all weights by one rank
  double weight_bytes = 0;       // float32
  double buckets = 0;            // that these travel in
  double link_bytes_per_s = 0;   // of one rank
  double message_seconds = 0;    // of a message without bytes
  double hidden = 0;             // share of the exchange that passes behind forward and backward
  bool shard_optimizer = true;
  // A step, in `weight_bytes`: sums and new weights; where weights are parted too they travel
  // twice, for the forward and for the backward pass, as products read them.
  double exchanges = 2;
  // Ranks of which each has cores of its own; more share them.
  double undisturbed_ranks = std::numeric_limits<double>::infinity();
};

struct StepCost {
  double compute = 0;   // forward, backward and update
  double exchange = 0;  // what is waited for: sums, then weights
  double messages = 0;  // the part of `exchange` that is latency
  double total() const { return compute + exchange; }
};

// With R ranks, V bytes of weights in b buckets, bandwidth B and latency α, an exchange of sums or
// of weights takes V·(R−1)/R / B + b·(R−1)·α. Their share `hidden` passes behind
// forward and backward passes, as far as these are long enough. Besides, ranks agree once a step.
StepCost predict_step(const RankFigures& figures, double tokens, int64_t ranks);

// Figures of a model with `factor` times the parameters, on the same machine.
RankFigures scaled(const RankFigures& figures, double factor);

}  // namespace continuo
