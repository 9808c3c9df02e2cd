#include "train/served_gap.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include "core/interrupt.h"
#include "data/example_stream.h"
#include "train/supervised.h"

namespace continuo {

ServedGap served_gap(Decoder& trained, Decoder& served, const ExampleStore& store,
                     int64_t micro_tokens, int64_t most_rows) {
  const c10::NoGradGuard no_grad;
  ServedGap gap;
  int64_t seen = 0;
  for (const std::vector<int64_t>& rows : evaluation_batches(store, micro_tokens)) {
    if (interrupted() || seen >= most_rows) break;
    const Batch batch = make_batch(store, rows);
    seen += std::ssize(rows);
    if (batch.trained_count == 0) continue;
    const at::Tensor a = token_nll(trained, batch).nll, b = token_nll(served, batch).nll;
    const at::Tensor difference = (a.to(at::kDouble) - b.to(at::kDouble)).abs();
    gap.mean += difference.sum().item<double>();
    gap.max = std::max(gap.max, difference.max().item<double>());
    gap.tokens += batch.trained_count;
  }
  if (gap.tokens > 0) gap.mean /= static_cast<double>(gap.tokens);
  return gap;
}

}  // namespace continuo
