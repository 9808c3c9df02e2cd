#include "train/served_gap.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include "core/interrupt.h"
#include "data/example_stream.h"
#include "train/head_loss.h"
#include "train/supervised.h"

namespace continuo {

ServedGap served_gap(Decoder& trained, Decoder& served, const ExampleStore& store,
                     int64_t micro_tokens, int64_t most_rows) {
  const c10::NoGradGuard no_grad;
  const auto nll = [](Decoder& decoder, const Batch& batch) {
    const Supervised s = supervised_rows(decoder, batch);
    return weighted_nll(s.hidden, s.head, s.targets, /*weights=*/{}, {}).nll.to(at::kDouble);
  };
  ServedGap gap;
  int64_t seen = 0;
  for (const std::vector<int64_t>& rows : evaluation_batches(store, micro_tokens)) {
    if (interrupted() || seen >= most_rows) break;
    std::vector<ExampleView> examples;
    for (const int64_t row : rows) examples.push_back(store[row]);
    const Batch batch = make_batch(examples, rows);
    seen += std::ssize(rows);
    if (batch.trained_count == 0) continue;
    const at::Tensor difference = (nll(trained, batch) - nll(served, batch)).abs();
    gap.mean += difference.sum().item<double>();
    gap.max = std::max(gap.max, difference.max().item<double>());
    gap.tokens += batch.trained_count;
  }
  if (gap.tokens > 0) gap.mean /= static_cast<double>(gap.tokens);
  return gap;
}

}  // namespace continuo
