#include "nn/adapters/dropout.h"

#include <cmath>
#include <string>

#include "core/error.h"
#include "nn/backend.h"
#include "nn/upload.h"

namespace continuo {

void DropoutPass::start(int64_t step, std::vector<uint64_t> tokens) {
  step_ = step;
  tokens_ = std::move(tokens);
  on_device_ = at::Tensor();
  active_ = true;
}

const at::Tensor& DropoutPass::tokens_on(at::Device device) const {
  if (!on_device_.defined() || on_device_.device() != device) {
    on_device_ = index_tensor({tokens_.begin(), tokens_.end()}, device);
  }
  return on_device_;
}

Dropout::Dropout(double rate, uint64_t seed, std::string_view layer)
    : threshold_(static_cast<uint32_t>(std::lround(rate * 65536))),
      key_(Random(seed, "dropout " + std::string(layer)).key()) {}

at::Tensor Dropout::mask(const DropoutPass& pass, int64_t rows, int64_t columns,
                         const at::TensorOptions& options) const {
  if (rows < pass.tokens()) {
    fail("dropout: {} rows of hidden states, but the pass names {} tokens", rows, pass.tokens());
  }
  return backend_of(options.device())
      .dropout.mask({.tokens = pass.tokens_on(options.device()),
                     .rows = rows,
                     .columns = columns,
                     .key = key_,
                     .step = static_cast<uint32_t>(pass.step()),
                     .threshold = threshold_},
                    c10::typeMetaToScalarType(options.dtype()));
}

}  // namespace continuo
