#include "generate/draft/repeat_index.h"

#include <algorithm>
#include <utility>

namespace continuo {
namespace {

constexpr int kTries = 32;  // candidates looked at

uint64_t gram_hash(std::span<const TokenId> gram) {
  uint64_t hash = 0;
  for (const TokenId id : gram) {
    hash = (hash ^ static_cast<uint64_t>(id)) * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 29;
  }
  return hash;
}

}  // namespace

std::optional<RepeatMatch> RepeatIndex::find(std::span<const TokenId> history) {
  const size_t end = history.size();
  const auto gram = [&](size_t at) {
    return gram_hash(history.subspan(at - shortest_, shortest_));
  };
  // The gram at the very end is looked up, and becomes a candidate when more tokens follow.
  before_.resize(std::max(before_.size(), end), -1);
  for (size_t at = std::max(indexed_ + 1, shortest_); at < end; ++at) {
    const auto [slot, fresh] = last_.try_emplace(gram(at), -1);
    before_[at] = std::exchange(slot->second, static_cast<int32_t>(at));
    indexed_ = at;
  }
  if (end < shortest_) return std::nullopt;
  const auto slot = last_.find(gram(end));
  if (slot == last_.end()) return std::nullopt;
  RepeatMatch best;
  int32_t at = slot->second;
  for (int tries = 0; tries < kTries && at >= 0 && best.length < kLongest; ++tries) {
    const auto next = static_cast<size_t>(at);
    size_t length = 0;
    while (length < std::min(next, kLongest) &&
           history[next - 1 - length] == history[end - 1 - length])
      ++length;
    if (length > best.length) best = {next, length};
    at = before_[next];
  }
  if (best.length < shortest_) return std::nullopt;
  return best;
}

}  // namespace continuo
