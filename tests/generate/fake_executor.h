// An Executor whose logits are any function of the tokens so far. Its cache keeps those tokens, so
// that forks, admissions, truncations and removals are exercised for real, and it checks positions,
// sequences and adapters on the way.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include "core/error.h"
#include "core/random.h"
#include "generate/generator.h"
#include "nn/executor.h"

namespace continuo::test {

using LogitsFunction = std::function<std::vector<float>(std::span<const TokenId>)>;

// The tokens of every sequence.
class FakeKVCache final : public KVCache {
 public:
  struct Held {
    std::vector<TokenId> tokens = {};
    int64_t room = 0;              // for so many tokens, by the last `prepare`
    int64_t adapter = kNoAdapter;  // that all tokens were computed with
  };

  // A forgetful one holds half of the tokens that it is asked to keep of a sequence.
  explicit FakeKVCache(bool forgetful) : forgetful_(forgetful) {}

  Held& held(int64_t sequence) {
    const auto found = held_.find(sequence);
    if (found == held_.end()) fail("there is no sequence {}", sequence);
    return found->second;
  }
  int64_t bytes() const override {
    int64_t tokens = 0;
    for (const auto& [sequence, held] : held_) tokens += std::ssize(held.tokens);
    return tokens;
  }

 private:
  void added(int64_t sequence) override {
    if (!held_.emplace(sequence, Held{}).second) fail("sequence {} is there already", sequence);
  }
  void forked(int64_t from, int64_t to) override { held(to) = held(from); }
  void removed(int64_t sequence) override {
    if (held_.erase(sequence) == 0) fail("sequence {} is removed twice", sequence);
  }
  void make_room(int64_t sequence, int64_t length) override { held(sequence).room = length; }
  int64_t shortened(int64_t sequence, int64_t asked) override {
    const int64_t kept = forgetful_ ? asked / 2 : asked;
    held(sequence).tokens.resize(static_cast<size_t>(kept));
    return kept;
  }
  void grown(int64_t sequence) override {
    if (std::ssize(held(sequence).tokens) != length(sequence)) {
      fail("{} tokens of sequence {} are committed, {} were written", length(sequence), sequence,
           held(sequence).tokens.size());
    }
  }

  bool forgetful_;
  std::map<int64_t, Held> held_;
};

class FakeExecutor final : public Executor {
 public:
  FakeExecutor(int64_t vocabulary, int64_t context, LogitsFunction logits)
      : logits_(std::move(logits)) {
    spec_.context = context;
    spec_.embedding = {.vocabulary = vocabulary, .hidden = vocabulary};
  }

  const ModelSpec& spec() const override { return spec_; }
  const ExecutorOptions& options() const override { return options_; }
  at::Device device() const override { return at::kCPU; }
  std::string description() const override { return "a function of the tokens"; }
  std::unique_ptr<KVCache> make_cache() const override {
    return std::make_unique<FakeKVCache>(forgetful);
  }

  at::Tensor logits(const at::Tensor& rows) override { return rows; }
  // The hidden state of a row is its logits. An adapter turns them by its id and one more.
  PassResult run(const Pass& pass) override {
    const RaggedInput& input = pass.input;
    ++forwards;
    largest_batch = std::max(largest_batch, input.documents());
    largest_input = std::max(largest_input, input.tokens.size(0));
    auto* cache = dynamic_cast<FakeKVCache*>(&pass.cache);
    if (!cache) fail("the cache belongs to another executor");
    if (std::ssize(pass.sequences) != input.documents()) {
      fail("{} sequences for {} documents", pass.sequences.size(), input.documents());
    }
    if (!pass.adapters.empty() && std::ssize(pass.adapters) != input.documents()) {
      fail("{} adapters for {} documents", pass.adapters.size(), input.documents());
    }
    const int64_t width = spec_.embedding.vocabulary;
    PassResult result;
    result.hidden = at::empty({input.tokens.size(0), width}, at::kFloat);
    const int64_t* tokens = input.tokens.const_data_ptr<int64_t>();
    const int64_t* positions = input.positions.const_data_ptr<int64_t>();
    for (int64_t d = 0; d < input.documents(); ++d) {
      const auto document = static_cast<size_t>(d);
      const int64_t id = pass.sequences[document];
      const int64_t adapter = pass.adapters.empty() ? kNoAdapter : pass.adapters[document];
      if (adapter != kNoAdapter && !adapters_.contains(adapter)) fail("no adapter {}", adapter);
      cache->prepare(id, input.length(d));
      FakeKVCache::Held& held = cache->held(id);
      if (held.tokens.empty()) held.adapter = adapter;
      if (held.adapter != adapter)
        fail("a sequence of adapter {} goes on with adapter {}", held.adapter, adapter);
      for (int64_t row = input.boundaries[document]; row < input.boundaries[document + 1]; ++row) {
        const int64_t length = std::ssize(held.tokens);
        if (positions[row] != length)
          fail("position {} for a history of {} tokens", positions[row], length);
        if (length >= spec_.context) fail("position {} is past the context", length);
        if (length >= held.room) fail("there is no room for token {}", length);
        held.tokens.push_back(static_cast<TokenId>(tokens[row]));
        std::vector<float> logits = logits_(held.tokens);
        std::rotate(logits.begin(), logits.begin() + (adapter - kNoAdapter) % width, logits.end());
        std::copy(logits.begin(), logits.end(),
                  result.hidden.mutable_data_ptr<float>() + row * width);
      }
      cache->commit(id, input.length(d));
    }
    if (!pass.wanted.empty()) {
      const at::Tensor rows = at::tensor(at::IntArrayRef(pass.wanted), at::kLong);
      result.logits = at::index_select(result.hidden, 0, rows);
    }
    return result;
  }
  Head head() const override { return {}; }
  WeightMatrix matrix(const MatrixPlace&) const override { return {}; }
  WeightMatrix head_matrix() const override { return {}; }

  void refresh() override {}
  int64_t add_adapter(const AdapterWeights&) override {
    adapters_.insert(next_adapter_);
    return next_adapter_++;
  }
  void remove_adapter(int64_t id) override { adapters_.erase(id); }

  int64_t weight_bytes() const override { return 0; }
  PassTime pass_time() const override { return {.extra = 0.07, .arithmetic = 0.23}; }

  int64_t forwards = 0, largest_batch = 0, largest_input = 0;
  bool forgetful = false;  // of the caches that are made from now on

 private:
  ModelSpec spec_;
  ExecutorOptions options_;
  LogitsFunction logits_;
  std::set<int64_t> adapters_;
  int64_t next_adapter_ = 0;
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
