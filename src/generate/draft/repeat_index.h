// Where the end of a growing sequence of tokens stood before: the match finder of LZ77 with hash
// chains (RFC 1951, section 4). Constant time for each token.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "generate/sampling/vocabulary.h"

namespace continuo {

struct RepeatMatch {
  size_t next = 0;  // history[next] followed then
  // Tokens before it that are the same as at the end; counted up to RepeatIndex::kLongest.
  size_t length = 0;
};

class RepeatIndex {
 public:
  static constexpr size_t kLongest = 32;

  // Matches of fewer than `shortest` (≥ 1) tokens do not count.
  explicit RepeatIndex(size_t shortest) : shortest_(shortest) {}

  // The longest match of the end of `history`, of those the latest. Histories of successive calls
  // continue each other.
  std::optional<RepeatMatch> find(std::span<const TokenId> history);

 private:
  size_t shortest_;
  size_t indexed_ = 0;  // grams that end before or at this place are in the chains
  std::unordered_map<uint64_t, int32_t> last_;  // hash of a gram → where it ended last
  std::vector<int32_t>
      before_;  // by the end of a gram: where one of the same hash ended before, or −1
};

}  // namespace continuo
