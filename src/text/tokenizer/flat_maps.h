// Open-addressing hash maps of the tokenizers: built once, then only read. Keys are never removed.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace continuo {

// Fast hash of a short text; not for content hashes.
inline uint64_t hash_word(std::string_view text) {
  constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;
  uint64_t hash = text.size() * kFactor;
  const char* at = text.data();
  size_t left = text.size();
  auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * kFactor;
    hash ^= hash >> 32;
  };
  for (; left >= 8; left -= 8, at += 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    mix(word);
  }
  uint64_t rest = 0;
  if (left > 0) std::memcpy(&rest, at, left);
  mix(rest);
  return hash;
}

// Text → its place in a vector that whoever asks has, always the same texts; more may be added.
class StringIndex {
 public:
  using Texts = std::vector<std::string>;

  // Without growing for so many.
  explicit StringIndex(size_t expected = 0) : slots_(slots_for(expected)) {}

  // False when the text of that number is there already, under another.
  bool insert(const Texts& texts, int32_t number) {
    if (slots_for(count_ + 1) > slots_.size()) grow(texts);
    const std::string_view text = texts[static_cast<size_t>(number)];
    const uint64_t hash = hash_word(text);
    Slot& slot = slots_[place(texts, text, hash)];
    if (slot.number >= 0) return false;
    slot = {tag(hash), number};
    ++count_;
    return true;
  }

  std::optional<int32_t> find(const Texts& texts, std::string_view text) const {
    const Slot& slot = slots_[place(texts, text, hash_word(text))];
    if (slot.number < 0) return {};
    return slot.number;
  }

 private:
  // Small: of a quarter of a million texts the slots are most of what a search looks at.
  struct Slot {
    uint32_t tag = 0;
    int32_t number = -1;
  };

  static size_t slots_for(size_t count) { return std::bit_ceil(count * 3 / 2 + 8); }

  // The half of a hash that does not choose the slot: texts, which lie far off, are compared where
  // it is the same.
  static uint32_t tag(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

  size_t place(const Texts& texts, std::string_view text, uint64_t hash) const {
    const auto is_other = [&](const Slot& slot) {
      return slot.tag != tag(hash) || texts[static_cast<size_t>(slot.number)] != text;
    };
    size_t mask = slots_.size() - 1;
    size_t at = hash & mask;
    while (slots_[at].number >= 0 && is_other(slots_[at])) at = (at + 1) & mask;
    return at;
  }

  void grow(const Texts& texts) {
    const std::vector<Slot> old =
        std::exchange(slots_, std::vector<Slot>(slots_for(2 * count_ + 1)));
    for (const Slot& slot : old) {
      if (slot.number < 0) continue;
      const std::string_view text = texts[static_cast<size_t>(slot.number)];
      slots_[place(texts, text, hash_word(text))] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t count_ = 0;
};

// Two ids → the merge of their tokens.
class PairMap {
 public:
  struct Value {
    uint32_t rank = 0;
    TokenId merged = 0;
  };

  // At most `expected` different pairs.
  explicit PairMap(size_t expected = 0) : slots_(std::bit_ceil(expected * 3 / 2 + 8)) {}

  // Replaces what the pair had.
  void set(TokenId left, TokenId right, Value value) {
    slots_[place(key(left, right))] = {key(left, right), value};
  }

  // Null when the pair does not merge.
  const Value* find(TokenId left, TokenId right) const {
    const Slot& slot = slots_[place(key(left, right))];
    return slot.key == kEmpty ? nullptr : &slot.value;
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  struct Slot {
    uint64_t key = kEmpty;
    Value value;
  };

  static uint64_t key(TokenId left, TokenId right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }

  size_t place(uint64_t key) const {
    size_t mask = slots_.size() - 1;
    uint64_t hash = key * 0x9E3779B97F4A7C15;
    size_t at = (hash ^ hash >> 32) & mask;
    while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask;
    return at;
  }

  std::vector<Slot> slots_;
};

}  // namespace continuo
