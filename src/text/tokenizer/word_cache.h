// Ids of words that were seen before: a bounded table per thread, shared by all tokenizers of the
// thread, where a new word replaces the one in its place. Long words and long results are not kept.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer/flat_maps.h"

namespace continuo {

class WordCache {
 public:
  static constexpr size_t kMaxBytes = 34, kMaxIds = 12;

  static WordCache& of_this_thread() {
    thread_local WordCache cache;
    return cache;
  }

  struct Slot {
    uint32_t owner = 0;  // 0: free
    uint8_t bytes = 0, count = 0;
    char text[kMaxBytes];
    TokenId ids[kMaxIds];

    std::span<const TokenId> result() const { return {ids, count}; }
    bool holds(uint32_t asker, std::string_view word) const {
      return owner == asker && bytes == word.size() &&
             std::memcmp(text, word.data(), word.size()) == 0;
    }
    void store(uint32_t asker, std::string_view word, std::span<const TokenId> result) {
      owner = asker;
      bytes = static_cast<uint8_t>(word.size());
      count = static_cast<uint8_t>(result.size());
      std::memcpy(text, word.data(), word.size());
      if (!result.empty()) std::memcpy(ids, result.data(), result.size_bytes());
    }
  };

  // The place of a word of at most kMaxBytes bytes. `owner` numbers the tokenizer from 1.
  Slot& slot(uint32_t owner, std::string_view word) {
    return slots_[(hash_word(word) + owner * 0x9E3779B1u) & (kSlots - 1)];
  }

 private:
  static constexpr size_t kSlots = 1 << 14;
  WordCache() : slots_(kSlots) {}
  std::vector<Slot> slots_;
};

}  // namespace continuo
