// A SentencePiece model as a Tokenizer. Text round-trips byte for byte whenever the model has byte
// pieces and does not normalise: U+2581 (the model's own sign for a space) and ill-formed UTF-8 are
// encoded as bytes. Knows nothing about training one.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer/hf_tokenizer_config.h"
#include "text/tokenizer/sentencepiece_model.h"
#include "text/tokenizer/tokenizer.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace continuo {

class SentencePieceTokenizer : public Tokenizer {
 public:
  // `model` is the content of tokenizer.model. Control symbols and the unknown piece are special; a
  // user-defined symbol is, unless `config` says it is not or it consists of white space. Error:
  // damaged or not supported; `name` is the file.
  explicit SentencePieceTokenizer(std::string model, HfTokenizerConfig config = {},
                                  const std::string& name = "tokenizer.model");
  ~SentencePieceTokenizer() override;

  std::vector<TokenId> encode(std::string_view text) const override;
  std::vector<TokenId> encode_continuation(std::string_view text) const override;
  std::string token_bytes(TokenId id) const override { return entry(id).bytes; }
  std::string piece(TokenId id) const override { return entry(id).piece; }
  std::optional<TokenId> find(std::string_view piece) const override;
  bool is_special(TokenId id) const override { return entry(id).special; }
  bool has_dummy_prefix() const override { return dummy_prefix_; }
  int64_t size() const override { return static_cast<int64_t>(vocabulary_.size()); }
  std::optional<TokenId> bos() const override { return bos_; }
  std::optional<TokenId> eos() const override { return eos_; }
  std::optional<TokenId> pad() const override { return pad_; }
  bool adds_bos() const override { return adds_bos_; }
  std::string hash() const override { return hash_; }
  // Writes tokenizer.model as it was given, tokenizer_config.json and, for unigram models,
  // tokenizer.json.
  using Tokenizer::save;
  void save(const std::filesystem::path& directory, bool adds_bos) const override;

  const std::string& model() const { return model_; }  // the file as it was given
  bool has_byte_fallback() const { return !byte_ids_.empty(); }
  std::string model_type() const;  // "unigram", "bpe", "word", "char"

 private:
  using Processor = sentencepiece::SentencePieceProcessor;
  struct Entry {
    std::string piece, bytes;
    bool special = false;
  };

  const Entry& entry(TokenId id) const;
  void add_entry(Entry entry);
  void build_vocabulary(const SentencePieceModel& model);
  void resolve_named_tokens();
  std::vector<TokenId> encode_document(std::string_view text, const Processor& first) const;
  void append(const Processor& processor, std::string_view text, std::vector<TokenId>& ids) const;
  std::string content_hash(std::string_view encoding_model) const;

  std::string model_;
  HfTokenizerConfig config_;
  Location where_;
  std::unique_ptr<Processor> opening_;     // encodes the start of a document
  std::unique_ptr<Processor> continuing_;  // without dummy prefix; null when `opening_` adds none
  std::vector<Entry> vocabulary_;
  std::unordered_map<std::string, TokenId> ids_;
  std::vector<TokenId> byte_ids_;  // [256], or empty: no byte fallback
  std::optional<TokenId> bos_, eos_, pad_;
  int model_type_ = 1;
  bool dummy_prefix_ = false, adds_bos_ = false;
  std::string hash_;
};

}  // namespace continuo
