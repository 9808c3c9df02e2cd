#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "nn/cpu/ops.h"

namespace continuo::cpu {

at::Tensor dropout_mask(const DropoutNoise& noise, at::ScalarType dtype) {
  // Eight elements share a block of 128 random bits.
  constexpr int64_t kLanes = 8;
  const int64_t named = noise.tokens.size(0), columns = noise.columns;
  const float kept = noise.kept();
  const int64_t* token = noise.tokens.const_data_ptr<int64_t>();
  at::Tensor mask = at::empty({noise.rows, columns}, at::TensorOptions(at::kFloat));
  mask.narrow(0, named, noise.rows - named).zero_();
  float* out = mask.data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, (1 << 13) / columns);
  at::parallel_for(0, named, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const auto name = static_cast<uint64_t>(token[r]);
      for (int64_t c = 0; c < columns; c += kLanes) {
        const PhiloxCounter words =
            philox4x32({static_cast<uint32_t>(name), static_cast<uint32_t>(name >> 32),
                        static_cast<uint32_t>(c / kLanes), noise.step},
                       noise.key);
        for (int64_t lane = 0; lane < std::min(kLanes, columns - c); ++lane) {
          const uint32_t draw = words[lane / 2] >> (16 * (lane % 2)) & 0xFFFF;
          out[r * columns + c + lane] = draw < noise.threshold ? 0.0f : kept;
        }
      }
    }
  });
  return mask.to(dtype);
}

}  // namespace continuo::cpu
