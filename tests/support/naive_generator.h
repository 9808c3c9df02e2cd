// The oracle of the generator: no cache that is continued, no batch, no stop strings; every token
// reads the whole history again.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "generate/generation_config.h"
#include "generate/sampling/draw.h"
#include "generate/sampling/sampler_chain.h"
#include "nn/decoder.h"
#include "nn/executor.h"

namespace continuo::test {

inline RaggedInput on_device(const RaggedInput& input, at::Device device) {
  return {input.tokens.to(device), input.positions.to(device), input.boundaries};
}

// A history, as one document, to the logits after it: [1, V] float32 on the CPU.
using NextLogits = std::function<at::Tensor(const RaggedInput& history)>;

inline std::vector<TokenId> naive_generate(const NextLogits& next_logits, int64_t limit,
                                           const Vocabulary& vocabulary,
                                           const GenerationConfig& config,
                                           const std::vector<TokenId>& prompt, uint64_t key,
                                           uint64_t sample) {
  SamplerChain chain(resolve_chain(config), vocabulary);
  const Noise noise(static_cast<uint64_t>(config.seed), key, sample);
  std::vector<TokenId> history = prompt;
  while (static_cast<int64_t>(history.size() - prompt.size()) < config.max_new_tokens &&
         static_cast<int64_t>(history.size()) < limit) {
    const auto n = static_cast<int64_t>(history.size());
    const at::Tensor tokens = at::empty({n}, at::kLong), positions = at::empty({n}, at::kLong);
    for (int64_t i = 0; i < n; ++i) {
      tokens.mutable_data_ptr<int64_t>()[i] = history[static_cast<size_t>(i)];
      positions.mutable_data_ptr<int64_t>()[i] = i;
    }
    const at::Tensor logits = next_logits({tokens, positions, {0, n}});
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

// By an executor, each history in a cache of its own.
inline std::vector<TokenId> naive_generate(Executor& executor, const Vocabulary& vocabulary,
                                           const GenerationConfig& config,
                                           const std::vector<TokenId>& prompt, uint64_t key,
                                           uint64_t sample) {
  const auto next_logits = [&](const RaggedInput& history) {
    const std::unique_ptr<KVCache> cache = executor.make_cache();
    return executor
        .run({.input = on_device(history, executor.device()),
              .cache = *cache,
              .sequences = {cache->add()},
              .wanted = {history.length(0) - 1}})
        .logits.to(at::kCPU)
        .contiguous();
  };
  return naive_generate(next_logits, executor.spec().context, vocabulary, config, prompt, key,
                        sample);
}

// By the modules of training, which share nothing with an engine.
inline std::vector<TokenId> naive_generate(Decoder& decoder, const Vocabulary& vocabulary,
                                           const GenerationConfig& config,
                                           const std::vector<TokenId>& prompt, uint64_t key,
                                           uint64_t sample) {
  const at::NoGradGuard no_grad;
  decoder.eval();
  const auto next_logits = [&](const RaggedInput& history) {
    const at::Tensor hidden = decoder.forward(on_device(history, decoder.device()));
    return decoder.logits(hidden.narrow(0, history.length(0) - 1, 1)).to(at::kCPU).contiguous();
  };
  return naive_generate(next_logits, decoder.spec().context, vocabulary, config, prompt, key,
                        sample);
}

}  // namespace continuo::test
