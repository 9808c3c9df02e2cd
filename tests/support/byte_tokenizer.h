// A tokenizer whose ids are bytes, with three specials before them: enough for everything that is
// not about text.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/hash.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo::test {

// Byte b is id b + 3; 0 = <pad>, 1 = <s>, 2 = </s>. With `dummy_prefix` a document opens with a
// space of its own.
class ByteTokenizer : public Tokenizer {
 public:
  static constexpr TokenId kPad = 0, kBos = 1, kEos = 2;

  explicit ByteTokenizer(bool dummy_prefix = false, std::string name = "bytes")
      : dummy_prefix_(dummy_prefix), name_(std::move(name)) {}

  std::vector<TokenId> encode(std::string_view text) const override {
    return encode_continuation(dummy_prefix_ ? " " + std::string(text) : std::string(text));
  }
  std::vector<TokenId> encode_continuation(std::string_view text) const override {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c) + 3);
    return ids;
  }
  std::string token_bytes(TokenId id) const override {
    return id < 3 ? "" : std::string(1, static_cast<char>(id - 3));
  }
  std::string piece(TokenId id) const override {
    if (id < 3) return id == 0 ? "<pad>" : id == 1 ? "<s>" : "</s>";
    return token_bytes(id);
  }
  std::optional<TokenId> find(std::string_view piece) const override {
    if (piece == "<s>") return 1;
    if (piece == "</s>") return 2;
    if (piece.size() == 1) return static_cast<unsigned char>(piece[0]) + 3;
    return std::nullopt;
  }
  bool is_special(TokenId id) const override { return id < 3; }
  bool has_dummy_prefix() const override { return dummy_prefix_; }
  int64_t size() const override { return 259; }
  std::optional<TokenId> bos() const override { return 1; }
  std::optional<TokenId> eos() const override { return 2; }
  std::optional<TokenId> pad() const override { return 0; }
  bool adds_bos() const override { return false; }
  std::string hash() const override { return hash_bytes(name_ + (dummy_prefix_ ? "+" : "")); }
  void save(const std::filesystem::path&, bool) const override {}

 private:
  bool dummy_prefix_;
  std::string name_;
};

}  // namespace continuo::test
