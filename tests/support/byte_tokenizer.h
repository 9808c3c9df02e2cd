// A tokenizer whose ids are bytes, with four specials after them: enough for everything that is not
// about text.
#pragma once

#include <filesystem>

#include "text/tokenizer/tokenizer.h"

namespace continuo::test {

class ByteTokenizer : public Tokenizer {
 public:
  static constexpr TokenId kBos = 256, kEos = 257, kPad = 258;
  std::vector<TokenId> encode(std::string_view text) const override {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::vector<TokenId> encode_continuation(std::string_view text) const override {
    return encode(text);
  }
  std::string token_bytes(TokenId id) const override {
    return id < 256 ? std::string(1, static_cast<char>(id)) : "";
  }
  std::string piece(TokenId id) const override {
    return id < 256 ? token_bytes(id) : "<" + std::to_string(id) + ">";
  }
  std::optional<TokenId> find(std::string_view) const override { return std::nullopt; }
  bool is_special(TokenId id) const override { return id >= 256; }
  bool has_dummy_prefix() const override { return false; }
  int64_t size() const override { return 260; }
  std::optional<TokenId> bos() const override { return kBos; }
  std::optional<TokenId> eos() const override { return kEos; }
  std::optional<TokenId> pad() const override { return kPad; }
  bool adds_bos() const override { return false; }
  std::string hash() const override { return "bytes"; }
  void save(const std::filesystem::path&, bool) const override {}
};

}  // namespace continuo::test
