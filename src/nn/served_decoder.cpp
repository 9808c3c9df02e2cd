#include "nn/served_decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tanh.h>
#include <c10/core/GradMode.h>

namespace continuo {

at::Tensor ServedDecoder::forward(const RaggedInput& input) {
  const std::unique_ptr<KVCache> cache = executor_->make_cache();
  const auto documents = static_cast<size_t>(input.documents());
  Pass pass = {.input = input, .cache = *cache, .sequences = {}};
  for (size_t d = 0; d < documents; ++d) pass.sequences.push_back(cache->add());
  pass.adapters.assign(documents, adapter_);
  return executor_->run(pass).hidden.to(compute_.dtype);
}

at::Tensor ServedDecoder::logits(const at::Tensor& rows) {
  const c10::NoGradGuard no_grad;
  const Head h = executor_->head();
  const at::Tensor raw = at::linear(rows.to(at::kFloat), h.product.values(at::kFloat));
  return h.softcap > 0 ? at::tanh(raw / h.softcap) * h.softcap : raw;
}

Head ServedDecoder::head(at::ScalarType dtype) {
  Head head = executor_->head();
  if (head.product.in_memory()) head.product = head.product.values(dtype).to(dtype);
  return head;
}

}  // namespace continuo
