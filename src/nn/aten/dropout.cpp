// Philox4x32-10 (core/random.h) in tensors of int64 that hold words of 32 bits: the same bits on
// any device.
#include <array>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>

#include "nn/aten/ops.h"

namespace continuo::aten {

namespace {

constexpr int64_t kWord = 0xFFFFFFFF;

// Of the product of a word and a constant.
struct Product {
  at::Tensor high, low;
};

// The product wraps around in int64, which keeps its bits; the shift is arithmetic, so its upper
// half is cut.
Product multiply(const at::Tensor& word, int64_t factor) {
  const at::Tensor product = word * factor;
  return {product.bitwise_right_shift(32).bitwise_and(kWord), product.bitwise_and(kWord)};
}

std::array<at::Tensor, 4> philox(std::array<at::Tensor, 4> c, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const Product first = multiply(c[0], 0xD2511F53), second = multiply(c[2], 0xCD9E8D57);
    c = {second.high.bitwise_xor(c[1]).bitwise_xor(int64_t{key[0]}), second.low,
         first.high.bitwise_xor(c[3]).bitwise_xor(int64_t{key[1]}), first.low};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return c;
}

}  // namespace

at::Tensor dropout_mask(const DropoutNoise& noise, at::ScalarType dtype) {
  constexpr int64_t kLanes = 8;
  const int64_t named = noise.tokens.size(0), blocks = (noise.columns + kLanes - 1) / kLanes;
  const at::Tensor tokens = noise.tokens.unsqueeze(1);
  const at::Tensor column =
      at::arange(blocks, tokens.options()).unsqueeze(0).expand({named, blocks});
  const std::array<at::Tensor, 4> words =
      philox({tokens.bitwise_and(kWord), tokens.bitwise_right_shift(32).bitwise_and(kWord), column,
              at::full_like(column, int64_t{noise.step})},
             noise.key);
  std::vector<at::Tensor> lanes;
  for (const at::Tensor& word : words) {
    lanes.push_back(word.bitwise_and(0xFFFF));
    lanes.push_back(word.bitwise_right_shift(16));
  }
  const at::Tensor draws =
      at::stack(lanes, 2).view({named, blocks * kLanes}).narrow(1, 0, noise.columns);
  const at::Tensor mask = draws.ge(int64_t{noise.threshold}).to(at::kFloat) * noise.kept();
  return at::constant_pad_nd(mask, {0, 0, 0, noise.rows - named}).to(dtype);
}

}  // namespace continuo::aten
