// A Decoder whose logits are any function of the tokens so far. It keeps those tokens in the cache
// as one-dimensional keys, so that forks, admissions and removals are exercised for real, and it
// checks positions and active sequences on the way.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ATen/ops/empty.h>

#include "core/error.h"
#include "core/random.h"
#include "generate/generator.h"
#include "nn/decoder.h"

namespace continuo::test {

using LogitsFunction = std::function<std::vector<float>(std::span<const TokenId>)>;

class FakeDecoder final : public Decoder {
 public:
  FakeDecoder(int64_t vocabulary, int64_t context, LogitsFunction logits)
      : logits_(std::move(logits)) {
    shape_ = {.layers = 1,
              .hidden = vocabulary,
              .heads = 1,
              .kv_heads = 1,
              .head_dim = 1,
              .vocabulary = vocabulary,
              .context = context};
  }

  // The hidden state of a row is its logits.
  at::Tensor forward(const RaggedInput& input, KVCache* cache) override {
    ++forwards;
    largest_batch = std::max(largest_batch, input.documents());
    largest_input = std::max(largest_input, input.tokens.size(0));
    if (is_training()) fail("the decoder is in training mode");
    if (cache && static_cast<int64_t>(cache->active().size()) != input.documents()) {
      fail("{} active sequences for {} documents", cache->active().size(), input.documents());
    }
    at::Tensor hidden = at::empty({input.tokens.size(0), shape_.hidden}, at::kFloat);
    const int64_t* tokens = input.tokens.const_data_ptr<int64_t>();
    const int64_t* positions = input.positions.const_data_ptr<int64_t>();
    for (int64_t d = 0; d < input.documents(); ++d) {
      const int64_t id = cache ? cache->active()[static_cast<size_t>(d)] : -1;
      std::vector<TokenId> history;
      if (cache) {
        cache->reserve(id, input.length(d));
        const float* keys = cache->storage(id, 0).const_data_ptr<float>();
        for (int64_t i = 0; i < cache->length(id); ++i) {
          history.push_back(static_cast<TokenId>(keys[i]));
        }
      }
      for (int64_t row = input.boundaries[static_cast<size_t>(d)];
           row < input.boundaries[static_cast<size_t>(d) + 1]; ++row) {
        if (positions[row] != static_cast<int64_t>(history.size())) {
          fail("position {} for a history of {} tokens", positions[row], history.size());
        }
        if (positions[row] >= shape_.context)
          fail("position {} is past the context", positions[row]);
        if (cache) {
          cache->storage(id, 0).mutable_data_ptr<float>()[history.size()] =
              static_cast<float>(tokens[row]);
        }
        history.push_back(static_cast<TokenId>(tokens[row]));
        const std::vector<float> logits = logits_(history);
        std::copy(logits.begin(), logits.end(),
                  hidden.mutable_data_ptr<float>() + row * shape_.hidden);
      }
      if (cache) cache->commit(id, input.length(d));
    }
    return hidden;
  }
  at::Tensor logits(const at::Tensor& rows) override { return rows; }
  Head head(at::ScalarType) override { return {}; }
  const DecoderShape& shape() const override { return shape_; }
  void set_compute(const ComputeOptions& options) override { compute_ = options; }
  const ComputeOptions& compute() const override { return compute_; }

  int64_t forwards = 0, largest_batch = 0, largest_input = 0;

 private:
  DecoderShape shape_;
  LogitsFunction logits_;
  ComputeOptions compute_;
};

// Logits from a hash of the whole history: any token lost, doubled or swapped changes everything.
inline LogitsFunction hashed_logits(int64_t vocabulary, double scale = 2) {
  return [=](std::span<const TokenId> history) {
    uint64_t hash = 7;
    for (TokenId id : history) hash = hash * 1099511628211ULL + static_cast<uint64_t>(id) + 1;
    const Random random(hash, "logits");
    std::vector<float> logits(static_cast<size_t>(vocabulary));
    for (size_t i = 0; i < logits.size(); ++i) {
      logits[i] = static_cast<float>(scale * random.normal(i));
    }
    return logits;
  };
}

// Says `script[i]` at completion position i, by a wide margin.
inline LogitsFunction scripted_logits(int64_t vocabulary, size_t prompt_length,
                                      std::vector<TokenId> script) {
  return [=](std::span<const TokenId> history) {
    std::vector<float> logits(static_cast<size_t>(vocabulary), 0);
    const size_t i = history.size() - prompt_length;
    if (history.size() >= prompt_length && i < script.size()) {
      logits[static_cast<size_t>(script[i])] = 50;
    }
    return logits;
  };
}

}  // namespace continuo::test
