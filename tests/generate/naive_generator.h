// The oracle of the generator: no cache, no batch, no stop strings; every token reads the whole
// history again.
#pragma once

#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "generate/generation_config.h"
#include "generate/sampling/draw.h"
#include "generate/sampling/sampler_chain.h"
#include "nn/decoder.h"

namespace continuo::test {

inline std::vector<TokenId> naive_generate(Decoder& decoder, const Vocabulary& vocabulary,
                                           const GenerationConfig& config,
                                           const std::vector<TokenId>& prompt, uint64_t key,
                                           uint64_t sample) {
  const at::NoGradGuard no_grad;
  decoder.eval();
  SamplerChain chain(resolve_chain(config), vocabulary);
  const Noise noise(static_cast<uint64_t>(config.seed), key, sample);
  std::vector<TokenId> history = prompt;
  while (static_cast<int64_t>(history.size() - prompt.size()) < config.max_new_tokens &&
         static_cast<int64_t>(history.size()) < decoder.shape().context) {
    const auto n = static_cast<int64_t>(history.size());
    const at::Tensor tokens = at::empty({n}, at::kLong), positions = at::empty({n}, at::kLong);
    for (int64_t i = 0; i < n; ++i) {
      tokens.mutable_data_ptr<int64_t>()[i] = history[static_cast<size_t>(i)];
      positions.mutable_data_ptr<int64_t>()[i] = i;
    }
    const at::Tensor hidden = decoder.forward({tokens, positions, {0, n}}, nullptr);
    const at::Tensor logits = decoder.logits(hidden.narrow(0, n - 1, 1)).contiguous();
    Candidates row(std::span<const float>(logits.const_data_ptr<float>(),
                                          static_cast<size_t>(logits.size(1))));
    chain.apply(row, {history, prompt.size(), vocabulary, noise});
    const Drawn drawn = draw(row, noise, history.size());
    chain.accept(drawn);
    history.push_back(drawn.id);
    if (vocabulary.is_eos(drawn.id)) break;
  }
  return {history.begin() + static_cast<long>(prompt.size()), history.end()};
}

}  // namespace continuo::test
