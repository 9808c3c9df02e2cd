// Text ⇄ token ids. Implementations are const after construction and safe to share between threads.
// Ids are never added behind the caller's back: no BOS, no EOS, no special tokens from plain text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace continuo {

using TokenId = int32_t;

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Ids of a text that opens a document. Text that spells a special token is plain text here.
  virtual std::vector<TokenId> encode(std::string_view text) const = 0;
  // Ids of a text that continues one: as `encode`, but without a dummy prefix.
  virtual std::vector<TokenId> encode_continuation(std::string_view text) const = 0;
  // The bytes of a whole document (its dummy prefix stripped). Special tokens decode to nothing
  // unless `special`.
  std::string decode(std::span<const TokenId> ids, bool special = false) const;
  // The bytes that one token adds inside a document; byte tokens give one raw byte. Special tokens:
  // empty.
  virtual std::string token_bytes(TokenId id) const = 0;
  // The token as the vocabulary spells it ("▁the", "<0x0A>", "</s>").
  virtual std::string piece(TokenId id) const = 0;
  virtual std::optional<TokenId> find(std::string_view piece) const = 0;
  virtual bool is_special(TokenId id) const = 0;
  // True where the first token's leading space is the tokenizer's own and must not be shown.
  virtual bool has_dummy_prefix() const = 0;

  virtual int64_t size() const = 0;
  virtual std::optional<TokenId> bos() const = 0;
  virtual std::optional<TokenId> eos() const = 0;
  virtual std::optional<TokenId> pad() const = 0;
  // Whether the model's own files open every text with BOS. `encode` never does: prompt encoding
  // decides, for training and generation alike.
  virtual bool adds_bos() const = 0;

  // Content hash (32 hex digits of XXH3-128): equal hash, equal ids for every text.
  virtual std::string hash() const = 0;
  // Writes the files that `load_tokenizer` and transformers read back into `directory`. They say
  // that texts open with BOS where `adds_bos`.
  virtual void save(const std::filesystem::path& directory, bool adds_bos) const = 0;
  void save(const std::filesystem::path& directory) const { save(directory, adds_bos()); }
};

// From a checkpoint directory or a tokenizer file (`tokenizer.model`). Error when there is none.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path);

}  // namespace continuo
