// A Hugging Face tokenizer.json as a Tokenizer: BPE over bytes or characters, and unigram. Ids are
// those of transformers, except that text never spells a special token or a byte piece ("<0x0A>")
// and, where the vocabulary has byte pieces, U+2581 and ill-formed UTF-8 become bytes: they come
// back.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "text/tokenizer/hf_tokenizer_config.h"
#include "text/tokenizer/hf_tokenizer_file.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/unigram_model.h"

namespace continuo {

class HfTokenizer : public Tokenizer {
 public:
  // `json` is the content of tokenizer.json; `again` gives it once more when the tokenizer is
  // saved, so that it need not be kept. Special are the added tokens that say so and those that
  // `config` names. Error: damaged or not supported; `name` is the file.
  explicit HfTokenizer(std::string json, HfTokenizerConfig config = {},
                       const std::string& name = "tokenizer.json",
                       std::function<std::string()> again = {});
  // The same of a content that was not text.
  HfTokenizer(HfTokenizerDocument document, HfTokenizerConfig config, const std::string& name,
              std::function<std::string()> again);
  HfTokenizer(const HfTokenizer&) = delete;  // indices point into the vocabulary
  HfTokenizer& operator=(const HfTokenizer&) = delete;

  std::vector<TokenId> encode(std::string_view text) const override;
  std::vector<TokenId> encode_continuation(std::string_view text) const override;
  // As transformers encodes: special tokens that the text spells become their ids, U+2581 is what
  // the file's steps make of it. For trusted text and for comparisons.
  std::vector<TokenId> encode_with_specials(std::string_view text) const;
  std::string token_bytes(TokenId id) const override;
  std::string piece(TokenId id) const override { return pieces_[place(id)]; }
  std::optional<TokenId> find(std::string_view piece) const override {
    return index_.find(pieces_, piece);
  }
  bool is_special(TokenId id) const override { return kinds_[place(id)].special; }
  bool has_dummy_prefix() const override { return dummy_prefix_; }
  int64_t size() const override { return static_cast<int64_t>(pieces_.size()); }
  std::optional<TokenId> bos() const override { return bos_; }
  std::optional<TokenId> eos() const override { return eos_; }
  std::optional<TokenId> pad() const override { return pad_; }
  bool adds_bos() const override { return adds_bos_; }
  std::string hash() const override { return hash_; }
  // Writes tokenizer.json and the files that were read beside it, byte for byte where `adds_bos` is
  // what they say.
  using Tokenizer::save;
  void save(const std::filesystem::path& directory, bool adds_bos) const override;

  std::string json() const { return again_(); }  // as it was given
  // The ids that the file's post-processor would put before and behind a text (BOS, EOS).
  const std::vector<TokenId>& opening_ids() const { return opening_; }
  const std::vector<TokenId>& closing_ids() const { return closing_; }
  // The bytes for which there is no token and no unknown token: `encode` leaves them out, as
  // transformers does.
  std::string lost_bytes() const;

 private:
  struct Kind {
    bool special = false;  // spells nothing
    bool added = false;    // is text as it stands, whatever the model's pieces are
  };
  enum class Mode { kPlain, kSpecials };

  size_t place(TokenId id) const;  // Error: there is no such token
  void add_config_tokens(HfTokenizerFile& file);
  void mark_named_tokens(HfTokenizerFile& file);
  void build_vocabulary(HfTokenizerFile& file);
  void build_model(HfTokenizerFile& file, size_t own);  // of the pieces its own
  std::string content_hash(const HfTokenizerFile& file) const;
  std::string json_with_bos(bool adds_bos) const;
  std::vector<TokenId> encode_document(std::string_view text, bool opening, Mode mode) const;
  void encode_valid(std::string_view text, PreTokenizer::Place place, Mode mode,
                    std::vector<TokenId>& ids) const;
  void encode_invalid(std::string_view bytes, std::vector<TokenId>& ids) const;
  void encode_word(std::string_view word, std::vector<TokenId>& ids) const;
  std::optional<TokenId> byte_id(uint8_t byte) const;

  std::function<std::string()> again_;
  HfTokenizerConfig config_;
  Location where_;
  std::vector<std::string> pieces_;  // by id
  std::vector<Kind> kinds_;
  StringIndex index_;  // of the pieces
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  AddedTokenMatcher raw_, normalized_;
  std::variant<std::monostate, BpeModel, UnigramModel> model_;
  std::string space_sign_;
  bool byte_pieces_ = false;  // "<0x0A>" is a byte
  bool byte_level_ = false, dummy_prefix_ = false, loses_unknown_ = false;
  bool keeps_sign_ = false;  // U+2581 of the text goes in as bytes
  std::vector<TokenId> opening_, closing_;
  std::optional<TokenId> bos_, eos_, pad_;
  bool adds_bos_ = false;
  std::string hash_;
};

}  // namespace continuo
