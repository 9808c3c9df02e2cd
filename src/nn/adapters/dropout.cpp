#include "nn/adapters/dropout.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "core/error.h"

namespace continuo {

Dropout::Dropout(double rate, uint64_t seed, std::string_view layer)
    : threshold_(static_cast<uint32_t>(std::lround(rate * 65536))),
      random_(seed, "dropout " + std::string(layer)) {}

at::Tensor Dropout::mask(const DropoutPass& pass, int64_t rows, int64_t columns,
                         const at::TensorOptions& options) const {
  const std::vector<uint64_t>& tokens = pass.tokens();
  const auto named = static_cast<int64_t>(tokens.size());
  if (rows < named) {
    fail("dropout: {} rows of hidden states, but the pass names {} tokens", rows, tokens.size());
  }
  // Eight elements share a block of 128 random bits.
  constexpr int64_t kLanes = 8;
  const auto kept = static_cast<float>(65536.0 / (65536.0 - threshold_));
  at::Tensor mask = at::empty({rows, columns}, at::TensorOptions(at::kFloat));
  mask.narrow(0, named, rows - named).zero_();
  float* out = mask.data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, (1 << 13) / columns);
  at::parallel_for(0, named, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < columns; c += kLanes) {
        const auto bits =
            random_.block(tokens[r], static_cast<uint64_t>(pass.step()) << 32 | c / kLanes);
        for (int64_t lane = 0; lane < std::min(kLanes, columns - c); ++lane) {
          const uint64_t draw = bits[lane / 4] >> (16 * (lane % 4)) & 0xFFFF;
          out[r * columns + c + lane] = draw < threshold_ ? 0.0f : kept;
        }
      }
    }
  });
  return mask.to(options);
}

}  // namespace continuo
