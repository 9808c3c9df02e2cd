// Small random models and ragged inputs for tests.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <c10/core/GradMode.h>

#include "nn/transformer.h"
#include "support/backend.h"

namespace continuo::test {

inline ModelSpec tiny_spec() {
  const BlockSpec block = {
      .mixer =
          Attend{.heads = 4, .kv_heads = 2, .dim = 8, .rotary = Rotary{.dim = 8, .theta = 100}},
      .mlp = Dense{.width = 48}};
  return {.context = 128,
          .embedding = {.vocabulary = 61, .hidden = 32},
          .blocks = {block, block},
          .head = {.tied = true}};
}

// tiny_spec() with `change` made to every block.
template <class Change>
ModelSpec tiny_spec(Change change) {
  ModelSpec spec = tiny_spec();
  for (BlockSpec& block : spec.blocks) change(block);
  return spec;
}

// Weights large enough that every part matters.
inline std::shared_ptr<Transformer> tiny_model(const ModelSpec& spec = tiny_spec(),
                                               int64_t seed = 1) {
  auto model = std::make_shared<Transformer>(spec);
  model->initialise(seed);
  const c10::NoGradGuard no_grad;
  for (at::Tensor& parameter : model->parameters()) {
    if (parameter.dim() >= 2) parameter.mul_(8);
  }
  model->to(device());
  return model;
}

// Documents of random tokens laid end to end.
inline RaggedInput ragged(const std::vector<std::vector<int64_t>>& documents,
                          int64_t first_position = 0) {
  RaggedInput input;
  std::vector<at::Tensor> tokens, positions;
  input.boundaries = {0};
  for (const auto& d : documents) {
    const auto n = static_cast<int64_t>(d.size());
    at::Tensor ids = at::empty({n}, at::TensorOptions(at::kLong));
    std::copy(d.begin(), d.end(), ids.data_ptr<int64_t>());
    tokens.push_back(ids);
    positions.push_back(
        at::arange(first_position, first_position + n, at::TensorOptions(at::kLong)));
    input.boundaries.push_back(input.boundaries.back() + n);
  }
  input.tokens = at::cat(tokens).to(device());
  input.positions = at::cat(positions).to(device());
  return input;
}

inline std::vector<int64_t> random_tokens(int64_t n, int64_t vocabulary, int64_t salt) {
  std::vector<int64_t> ids(n);
  uint64_t state = 0x9e3779b97f4a7c15ull * static_cast<uint64_t>(salt + 1);
  for (int64_t& id : ids) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    id = static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(vocabulary));
  }
  return ids;
}

inline double max_difference(const at::Tensor& a, const at::Tensor& b) {
  const auto wide = [](const at::Tensor& t) { return t.detach().to(at::kCPU, at::kDouble); };
  return (wide(a) - wide(b)).abs().max().item<double>();
}

}  // namespace continuo::test
