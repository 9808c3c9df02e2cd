#include "nn/served_decoder.h"

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
  return executor_->logits(rows);
}

Head ServedDecoder::head(at::ScalarType) {
  Head head = executor_->head();
  head.served = [this](const at::Tensor& rows) { return logits(rows); };
  return head;
}

}  // namespace continuo
