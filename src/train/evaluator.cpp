#include "train/evaluator.h"

#include <array>
#include <cmath>
#include <optional>

#include <ATen/ops/isfinite.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "data/example_stream.h"
#include "train/supervised.h"

namespace continuo {

std::string non_finite_rows(const Batch& batch, const at::Tensor& nll,
                            const std::function<std::string(int64_t row)>& where) {
  const at::Tensor host = nll.to(at::kCPU, at::kDouble).contiguous();
  const double* value = host.const_data_ptr<double>();
  const int64_t* target = batch.targets.const_data_ptr<int64_t>();
  std::string names;
  int64_t supervised = 0, found = 0;
  for (size_t d = 0; d < batch.rows.size(); ++d) {
    bool bad = false;
    for (int64_t i = batch.boundaries[d]; i < batch.boundaries[d + 1]; ++i) {
      if (target[i] != kIgnoredTarget) bad |= !std::isfinite(value[supervised++]);
    }
    if (bad && found++ < 8) names += (names.empty() ? "" : ", ") + where(batch.rows[d]);
  }
  return names;
}

namespace {

// Adds a batch, which has a trained token, to the sums. → [trained tokens] their nll.
at::Tensor add_batch(Evaluation& total, Decoder& decoder, const Batch& batch,
                     const ExampleStore& store) {
  const NllResult loss = token_nll(decoder, batch);
  const double nll = loss.nll.sum(at::kDouble).item<double>();
  if (!std::isfinite(nll)) {
    const auto where = [&](int64_t row) { return store.where(row); };
    throw Error("the evaluation loss is not finite in " + non_finite_rows(batch, loss.nll, where),
                "The weights have diverged, or these rows are far from anything the model has "
                "seen.");
  }
  total.nll += nll;
  total.entropy += loss.entropy.sum(at::kDouble).item<double>();
  total.tokens += batch.trained_count;
  total.correct += loss.correct.sum().item<int64_t>();
  return loss.nll;
}

// This rank's share: the batches rank, rank + ranks, … of the set.
Evaluation evaluate_share(Decoder& decoder, const ExampleStore& store, int64_t micro_tokens,
                          Communicator& ranks, const EvaluationOptions& options) {
  const c10::NoGradGuard no_grad;
  const auto stop = [&] {
    return options.together ? ranks.any(interrupted(), "the others' evaluation") : interrupted();
  };
  Evaluation total;
  const auto batches = evaluation_batches(store, micro_tokens);
  const auto rank = static_cast<size_t>(ranks.rank()), size = static_cast<size_t>(ranks.size());
  for (size_t round = 0; round < batches.size() && !stop(); round += size) {
    const size_t i = round + rank;
    const std::optional<Batch> batch =
        i < batches.size() ? std::optional(make_batch(store, batches[i])) : std::nullopt;
    if (batch) total.rows += std::ssize(batch->rows);
    if (batch && batch->trained_count > 0) {
      const at::Tensor nll = add_batch(total, decoder, *batch, store);
      if (options.on_batch) options.on_batch(&*batch, nll, total);
    } else if (options.together) {
      idle_pass(decoder);
      if (options.on_batch) options.on_batch(nullptr, {}, total);
    }
  }
  return total;
}

Evaluation sum_over_ranks(const Evaluation& mine, Communicator& ranks) {
  const std::array sums = {mine.nll, mine.entropy, static_cast<double>(mine.tokens),
                           static_cast<double>(mine.correct), static_cast<double>(mine.rows)};
  const std::vector<double> all = ranks.gather(sums, "the others' part of an evaluation");
  Evaluation total;
  for (size_t i = 0; i < all.size(); i += sums.size()) {
    total.nll += all[i];
    total.entropy += all[i + 1];
    total.tokens += static_cast<int64_t>(all[i + 2]);
    total.correct += static_cast<int64_t>(all[i + 3]);
    total.rows += static_cast<int64_t>(all[i + 4]);
  }
  return total;
}

}  // namespace

Evaluation evaluate(Decoder& decoder, const ExampleStore& store, int64_t micro_tokens,
                    const EvaluationOptions& options) {
  const auto solo = solo_communicator();
  Communicator& ranks = options.ranks ? *options.ranks : *solo;
  return sum_over_ranks(evaluate_share(decoder, store, micro_tokens, ranks, options), ranks);
}

}  // namespace continuo
