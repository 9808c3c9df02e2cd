#include "generate/cached_decoder.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/tensor.h>

#include "core/log.h"

namespace continuo {
namespace {

at::Tensor index_tensor(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(at::IntArrayRef(values), at::kLong).to(device);
}

}  // namespace

CachedDecoder::CachedDecoder(Executor& executor, Keeps keeps)
    : executor_(executor), cache_(executor.make_cache()), keeps_(keeps) {}

int64_t CachedDecoder::begin(std::span<const TokenId> tokens, int64_t adapter) {
  const auto fresh = [&] {
    const int64_t sequence = cache_->add();
    if (sequence >= std::ssize(adapters_)) adapters_.resize(static_cast<size_t>(sequence) + 1);
    adapters_[static_cast<size_t>(sequence)] = adapter;
    return sequence;
  };
  if (kept_ < 0) return fresh();
  const auto differ =
      std::mismatch(tokens.begin(), tokens.end(), kept_tokens_.begin(), kept_tokens_.end());
  const int64_t shared =
      std::min<int64_t>(differ.first - tokens.begin(), static_cast<int64_t>(tokens.size()) - 1);
  const int64_t sequence = std::exchange(kept_, -1);
  if (shared <= 0 || adapters_[static_cast<size_t>(sequence)] != adapter) {
    cache_->remove(sequence);
    return fresh();
  }
  const int64_t held = cache_->truncate(sequence, shared);
  log_debug("{} of the prompt's {} tokens are in the cache", held, tokens.size());
  return sequence;
}

int64_t CachedDecoder::fork(int64_t sequence) {
  const int64_t copy = cache_->fork(sequence);
  if (copy >= std::ssize(adapters_)) adapters_.resize(static_cast<size_t>(copy) + 1);
  adapters_[static_cast<size_t>(copy)] = adapters_[static_cast<size_t>(sequence)];
  return copy;
}

void CachedDecoder::end(int64_t sequence, std::span<const TokenId> tokens) {
  if (keeps_ == Keeps::kNothing) return cache_->remove(sequence);
  if (kept_ >= 0) cache_->remove(kept_);
  kept_ = sequence;
  const int64_t held = cache_->truncate(
      sequence, std::min(cache_->length(sequence), static_cast<int64_t>(tokens.size())));
  kept_tokens_.assign(tokens.begin(), tokens.begin() + held);
}

at::Tensor CachedDecoder::run(std::span<const Piece> pieces) {
  std::vector<int64_t> tokens, positions;
  Pass pass = {.input = {}, .cache = *cache_, .sequences = {}};
  pass.input.boundaries = {0};
  for (const auto& [sequence, added, wanted] : pieces) {
    const int64_t past = cache_->length(sequence);
    for (size_t i = 0; i < added.size(); ++i) {
      tokens.push_back(added[i]);
      positions.push_back(past + static_cast<int64_t>(i));
    }
    const auto rows = static_cast<int64_t>(tokens.size());
    for (int64_t row = rows - wanted; row < rows; ++row) pass.wanted.push_back(row);
    pass.input.boundaries.push_back(rows);
    pass.sequences.push_back(sequence);
    pass.adapters.push_back(adapters_[static_cast<size_t>(sequence)]);
  }
  pass.input.tokens = index_tensor(tokens, executor_.device());
  pass.input.positions = index_tensor(positions, executor_.device());
  const at::Tensor logits = executor_.run(pass).logits;
  return logits.defined() ? logits.to(at::kCPU, at::kFloat).contiguous() : logits;
}

void CachedDecoder::append(int64_t sequence, std::span<const TokenId> tokens, int64_t chunk) {
  while (!tokens.empty()) {
    const size_t count = std::min(tokens.size(), static_cast<size_t>(chunk));
    run(std::vector<Piece>{{sequence, tokens.first(count), 0}});
    tokens = tokens.subspan(count);
  }
}

at::Tensor CachedDecoder::prefill(int64_t sequence, std::span<const TokenId> tokens,
                                  int64_t chunk) {
  const size_t last = (tokens.size() - 1) % static_cast<size_t>(chunk) + 1;
  append(sequence, tokens.first(tokens.size() - last), chunk);
  return run(std::vector<Piece>{{sequence, tokens.last(last), 1}});
}

}  // namespace continuo
