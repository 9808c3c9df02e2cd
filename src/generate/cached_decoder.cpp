#include "generate/cached_decoder.h"

#include <algorithm>

#include "core/log.h"
#include "nn/upload.h"

namespace continuo {

size_t shared_length(std::span<const TokenId> a, std::span<const TokenId> b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                             a.begin());
}

CachedDecoder::CachedDecoder(Executor& executor, int64_t keeps)
    : executor_(executor), cache_(executor.make_cache()), keeps_(keeps) {}

CachedDecoder::Held& CachedDecoder::hold(int64_t sequence) {
  const auto at = static_cast<size_t>(sequence);
  if (at >= held_.size()) held_.resize(at + 1);
  return held_[at];
}

int64_t CachedDecoder::begin(std::span<const TokenId> tokens, int64_t adapter) {
  int64_t closest = -1, shared = 0;
  for (int64_t id = 0; id < std::ssize(held_); ++id) {
    const Held& held = held_[static_cast<size_t>(id)];
    if (!held.live || held.adapter != adapter) continue;
    const auto length =
        static_cast<int64_t>(std::min(shared_length(tokens, held.tokens), tokens.size() - 1));
    if (length > shared) closest = id, shared = length;
  }
  if (closest >= 0) {
    const int64_t sequence = fork(closest);
    const int64_t kept = truncate(sequence, shared);
    log_debug("{} of the prompt's {} tokens are in the cache", kept, tokens.size());
    return sequence;
  }
  const int64_t sequence = cache_->add();
  hold(sequence) = {.tokens = {}, .adapter = adapter, .live = true};
  return sequence;
}

int64_t CachedDecoder::fork(int64_t sequence) {
  const int64_t copy = cache_->fork(sequence);
  hold(copy) = Held(hold(sequence));
  return copy;
}

int64_t CachedDecoder::truncate(int64_t sequence, int64_t length) {
  const int64_t held = cache_->truncate(sequence, length);
  hold(sequence).tokens.resize(static_cast<size_t>(held));
  return held;
}

void CachedDecoder::end(int64_t sequence) {
  if (keeps_ == 0) return drop(sequence);
  ended_.push_back(sequence);
  if (std::ssize(ended_) <= keeps_) return;
  drop(ended_.front());
  ended_.pop_front();
}

void CachedDecoder::drop(int64_t sequence) {
  cache_->remove(sequence);
  hold(sequence) = {};
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
    pass.adapters.push_back(hold(sequence).adapter);
  }
  pass.input.tokens = index_tensor(tokens, executor_.device());
  pass.input.positions = index_tensor(positions, executor_.device());
  const at::Tensor logits = executor_.run(pass).logits;
  for (const Piece& piece : pieces) {
    std::vector<TokenId>& held = hold(piece.sequence).tokens;
    held.insert(held.end(), piece.tokens.begin(), piece.tokens.end());
  }
  return logits;
}

void CachedDecoder::append(int64_t sequence, std::span<const TokenId> tokens, int64_t chunk) {
  while (!tokens.empty()) {
    const size_t count = std::min(tokens.size(), static_cast<size_t>(chunk));
    run(std::vector<Piece>{{sequence, tokens.first(count), 0}});
    tokens = tokens.subspan(count);
  }
}

}  // namespace continuo
