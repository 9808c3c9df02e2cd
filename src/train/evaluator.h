// Evaluation over a whole set: Σ nll / Σ tokens, the same number for any batch size.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "data/batch.h"
#include "data/example_store.h"
#include "nn/decoder.h"

namespace continuo {

struct Evaluation {
  double nll = 0;       // Σ over the trained tokens, nats
  double entropy = 0;   // Σ of the predicted distributions' entropies
  int64_t tokens = 0;   // trained
  int64_t correct = 0;  // argmax is the target
  int64_t rows = 0;

  double loss() const { return tokens ? nll / static_cast<double>(tokens) : 0; }
  double accuracy() const {
    return tokens ? static_cast<double>(correct) / static_cast<double>(tokens) : 0;
  }
  double mean_entropy() const { return tokens ? entropy / static_cast<double>(tokens) : 0; }
};

// Called after each batch that has a trained token: its rows, their trained tokens' nll in document
// order, and the sums so far. With EvaluationOptions::together once a round on every rank, with a
// null batch where this one had none.
using OnEvaluated =
    std::function<void(const Batch* batch, const at::Tensor& nll, const Evaluation& so_far)>;

struct EvaluationOptions {
  // Which part the set among them, batch by batch; of a process alone by default.
  Communicator* ranks = nullptr;
  // Round by round, a pass on every rank in each: what they send each other in a pass, as with
  // Gradients::passes_together, or in on_batch needs that.
  bool together = false;
  OnEvaluated on_batch = {};
};

// The same sums on all ranks. Stops early, with what it has, when `core/interrupt.h` says so.
// Error: a loss that is not finite (names the row).
Evaluation evaluate(Decoder& decoder, const ExampleStore& store, int64_t micro_tokens,
                    const EvaluationOptions& options = {});

// The names of a batch's rows that hold a nll which is not finite, at most eight.
std::string non_finite_rows(const Batch& batch, const at::Tensor& nll,
                            const std::function<std::string(int64_t row)>& where);

}  // namespace continuo
