#include "train/evaluator.h"

#include <cmath>

#include <ATen/ops/isfinite.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "data/example_stream.h"
#include "train/head_loss.h"
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

Evaluation evaluate(Decoder& decoder, const ExampleStore& store, int64_t micro_tokens,
                    const OnEvaluated& on_batch) {
  const c10::NoGradGuard no_grad;
  Evaluation total;
  for (const std::vector<int64_t>& rows : evaluation_batches(store, micro_tokens)) {
    if (interrupted()) break;
    std::vector<ExampleView> examples;
    for (const int64_t row : rows) examples.push_back(store[row]);
    const Batch batch = make_batch(examples, rows);
    total.rows += static_cast<int64_t>(rows.size());
    if (batch.trained_count == 0) continue;
    const Supervised targets = supervised_rows(decoder, batch);
    const NllResult loss =
        weighted_nll(targets.hidden, targets.head, targets.targets, /*weights=*/{}, {});
    const double nll = loss.nll.sum(at::kDouble).item<double>();
    if (!std::isfinite(nll)) {
      const auto where = [&](int64_t row) { return store.where(row); };
      throw Error(
          "the evaluation loss is not finite in " + non_finite_rows(batch, loss.nll, where),
          "The weights have diverged, or these rows are far from anything the model has seen.");
    }
    total.nll += nll;
    total.entropy += loss.entropy.sum(at::kDouble).item<double>();
    total.tokens += batch.trained_count;
    total.correct += loss.correct.sum().item<int64_t>();
    if (on_batch) on_batch(batch, loss.nll, total);
  }
  return total;
}

}  // namespace continuo
