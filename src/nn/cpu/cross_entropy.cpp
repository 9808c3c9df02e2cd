#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/ops.h"

namespace continuo::cpu {

RowStatistics cross_entropy(at::Tensor& logits, const at::Tensor& targets, const RowLoss& o) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  const auto options = logits.options().dtype(at::kFloat);
  RowStatistics s = {at::empty({rows}, options), at::empty({rows}, options),
                     at::empty({rows}, options), at::empty({rows}, options)};
  const int64_t weights = o.weights.defined() ? o.weights.size(0) : 0;
  const float* weight = weights > 0 ? o.weights.const_data_ptr<float>() : nullptr;
  with_storage_type(logits.scalar_type(), [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const double scale = r < weights ? o.scale * weight[r] : o.scale;
        const CrossEntropyTerms terms = kernels().typed<T>().cross_entropy(
            {.vocabulary = vocabulary,
             .logits = data<T>(logits) + r * vocabulary,
             .target = data<int64_t>(targets)[r],
             .label_smoothing = static_cast<float>(o.label_smoothing),
             .z_loss = static_cast<float>(o.z_loss),
             .gradient = o.gradient,
             .scale = static_cast<float>(scale)});
        data<float>(s.loss)[r] = terms.loss;
        data<float>(s.nll)[r] = terms.nll;
        data<float>(s.entropy)[r] = terms.entropy;
        data<float>(s.correct)[r] = terms.correct ? 1.0f : 0.0f;
      }
    });
  });
  return s;
}

}  // namespace continuo::cpu
