#include "nn/quantised_weight.h"

#include "nn/backend.h"

namespace continuo {

QuantisedWeight quantise(const WeightMatrix& matrix, WeightFormat format, at::Device device) {
  const WeightMatrix on_host(matrix.out(), matrix.in(), [&](int64_t begin, int64_t end) {
    return matrix.rows(begin, end).to(at::kCPU);
  });
  return {.format = format,
          .out = matrix.out(),
          .in = matrix.in(),
          .panels = backend_of(at::Device(at::kCPU)).quantised.pack(on_host, format).to(device)};
}

}  // namespace continuo
