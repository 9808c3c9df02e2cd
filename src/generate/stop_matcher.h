// Finds stop strings in a stream of bytes with an Aho–Corasick automaton. The match that completes
// first wins, of those that complete with the same byte the longest; so the result does not depend
// on how the stream is cut into chunks. Bytes that could still be the beginning of a match are held
// back, exactly the longest such tail and no more.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace continuo {

// The automaton, shared by all sequences.
class StopStrings {
 public:
  // Error: an empty stop string.
  explicit StopStrings(std::span<const std::string> stops);

  int32_t step(int32_t state, uint8_t byte) const {
    return nodes_[static_cast<size_t>(state)].next[byte];
  }
  size_t depth(int32_t state) const { return nodes_[static_cast<size_t>(state)].depth; }
  // Index of the longest stop string that ends in this state, or −1.
  int32_t match(int32_t state) const { return nodes_[static_cast<size_t>(state)].match; }
  const std::string& stop(int32_t index) const { return stops_[static_cast<size_t>(index)]; }

 private:
  struct Node {
    std::array<int32_t, 256> next;
    int32_t match = -1;
    size_t depth = 0;
  };
  std::vector<std::string> stops_;
  std::vector<Node> nodes_;
};

struct StopMatch {
  std::string stop;
  int64_t offset = 0;  // in the visible bytes of the stream
};

class StopMatcher {
 public:
  explicit StopMatcher(std::shared_ptr<const StopStrings> stops) : stops_(std::move(stops)) {}

  struct Result {
    std::string bytes;  // visible bytes that are now final
    std::optional<StopMatch> match;
  };
  // Hidden bytes (spelled-out special tokens) take part in matching and are never given out.
  // After a match nothing more may be pushed.
  Result push(std::string_view bytes, bool visible = true);
  // What was held back, when the stream ends without a match.
  std::string flush();

 private:
  // Visible bytes of the first `count` held ones, which are let go.
  std::string release(size_t count);

  std::shared_ptr<const StopStrings> stops_;
  int32_t state_ = 0;
  std::string held_;
  std::vector<bool> visible_;  // beside held_
  int64_t released_ = 0;       // visible bytes given out so far
};

}  // namespace continuo
