// How an HfTokenizer is made: vocabulary, special tokens and model from the checked files.
#include <algorithm>

#include "core/hash.h"
#include "text/tokenizer/byte_alphabet.h"
#include "text/tokenizer/code_points.h"
#include "text/tokenizer/hf_tokenizer.h"

namespace continuo {
namespace {

std::string with_spaces(std::string_view piece, std::string_view sign) {
  if (sign.empty()) return std::string(piece);
  std::string bytes;
  for (size_t at = 0; at < piece.size();) {
    if (piece.substr(at).starts_with(sign)) {
      bytes += ' ';
      at += sign.size();
    } else {
      bytes += piece[at++];
    }
  }
  return bytes;
}

std::string byte_piece(int byte) { return fmt::format("<0x{:02X}>", byte); }

// The byte of "<0x0A>".
std::optional<char> piece_byte(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || !piece.ends_with('>')) return {};
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  const size_t high = kDigits.find(piece[3]), low = kDigits.find(piece[4]);
  if (high == kDigits.npos || low == kDigits.npos) return {};
  return static_cast<char>(16 * high + low);
}

}  // namespace

HfTokenizer::HfTokenizer(std::string json, HfTokenizerConfig config, const std::string& name,
                         std::function<std::string()> again)
    : HfTokenizer(
          HfTokenizerDocument::parse(json, {.file = name}), std::move(config), name,
          again ? std::move(again) : [json] { return json; }) {}

HfTokenizer::HfTokenizer(HfTokenizerDocument document, HfTokenizerConfig config,
                         const std::string& name, std::function<std::string()> again)
    : again_(std::move(again)), config_(std::move(config)), where_{.file = name} {
  HfTokenizerFile file = HfTokenizerFile::read(std::move(document), where_);
  byte_level_ = file.pre_tokenizer.byte_level();
  space_sign_ = file.space_sign;
  dummy_prefix_ = file.normalizer.prepends() || file.pre_tokenizer.adds_prefix();
  opening_ = file.opening;
  closing_ = file.closing;
  add_config_tokens(file);
  const size_t own = file.pieces.size();
  build_vocabulary(file);
  mark_named_tokens(file);
  hash_ = content_hash(file);
  // A post-processor may name the BOS that no other file names.
  if (!bos_ && opening_.size() == 1) bos_ = opening_.front();
  adds_bos_ = bos_ && opening_ == std::vector{*bos_};
  std::vector<AddedToken> raw, normalized;
  for (AddedToken& token : file.added) {
    if (token.normalized) {
      std::string storage;
      token.text = std::string(file.normalizer.apply(token.text, true, storage));
      if (!token.text.empty()) normalized.push_back(std::move(token));
    } else {
      raw.push_back(std::move(token));
    }
  }
  raw_ = AddedTokenMatcher(std::move(raw));
  normalized_ = AddedTokenMatcher(std::move(normalized));
  build_model(file, own);
  normalizer_ = std::move(file.normalizer);
  pre_tokenizer_ = std::move(file.pre_tokenizer);
  keeps_sign_ = !space_sign_.empty();
  for (char c : space_sign_) {
    keeps_sign_ = keeps_sign_ && byte_id(static_cast<uint8_t>(c));
  }
}

// tokenizer_config.json may know tokens that tokenizer.json does not, and overrules what it says of
// the others.
void HfTokenizer::add_config_tokens(HfTokenizerFile& file) {
  auto size = static_cast<int64_t>(file.pieces.size());
  for (const AddedToken& token : file.added) size = std::max<int64_t>(size, token.id + 1);
  auto refuse = [&](const std::string& text, int64_t id, std::string_view why) {
    throw Error(where_,
                fmt::format("tokenizer_config.json gives '{}' the id {}, {}", text, id, why),
                "the files beside tokenizer.json belong to another tokenizer");
  };
  for (const auto& [id, named] : config_.added) {
    if (!named.has_flags) continue;
    if (named.text.empty()) refuse(named.text, id, "but a token must not be empty");
    if (id > size) refuse(named.text, id, fmt::format("but no token has the id {}", size));
    AddedToken token{.text = named.text,
                     .id = static_cast<TokenId>(id),
                     .special = named.special,
                     .single_word = named.single_word,
                     .lstrip = named.lstrip,
                     .rstrip = named.rstrip,
                     .normalized = named.normalized};
    auto known = std::ranges::find(file.added, token.id, &AddedToken::id);
    if (known != file.added.end()) {
      if (known->text != token.text) refuse(token.text, id, "which is '" + known->text + "'");
      *known = std::move(token);
      continue;
    }
    if (id == size) {
      ++size;
    } else if (file.pieces[static_cast<size_t>(id)] != token.text) {
      refuse(token.text, id, "which is '" + file.pieces[static_cast<size_t>(id)] + "'");
    }
    file.added.push_back(std::move(token));
  }
}

std::string HfTokenizer::token_bytes(TokenId id) const {
  const std::string& piece = pieces_[place(id)];
  const auto [special, added] = kinds_[place(id)];
  if (special) return "";
  if (added) return with_spaces(piece, space_sign_);
  if (byte_level_) return bytes_of_piece(piece).value_or(piece);
  if (byte_pieces_) {
    if (const auto byte = piece_byte(piece)) return {*byte};
  }
  return with_spaces(piece, space_sign_);
}

// Takes the file's pieces, which are large, and their index.
void HfTokenizer::build_vocabulary(HfTokenizerFile& file) {
  byte_pieces_ = file.byte_pieces;
  pieces_ = std::move(file.pieces);
  index_ = std::move(file.index);
  kinds_.resize(pieces_.size());
  for (const AddedToken& token : file.added) {
    const auto id = static_cast<size_t>(token.id);
    if (id == pieces_.size()) {
      pieces_.push_back(token.text);
      kinds_.emplace_back();
      if (!index_.insert(pieces_, token.id))
        throw Error(where_, fmt::format("the token '{}' has two ids", token.text));
    }
    kinds_[id] = {.special = token.special, .added = true};
  }
}

// transformers treats every token that its configuration names as special.
void HfTokenizer::mark_named_tokens(HfTokenizerFile& file) {
  auto mark = [&](const std::string& text) -> std::optional<TokenId> {
    std::optional<TokenId> id = find(text);
    if (!id) return {};
    kinds_[static_cast<size_t>(*id)].special = true;
    auto known = std::ranges::find(file.added, *id, &AddedToken::id);
    if (known != file.added.end()) {
      known->special = true;
    } else {
      file.added.push_back({.text = text, .id = *id, .special = true});
    }
    return id;
  };
  auto resolve = [&](const HfTokenizerConfig::NamedToken& token, std::string_view key) {
    if (!token.text) return std::optional<TokenId>{};
    std::optional<TokenId> id = mark(*token.text);
    if (!id) throw Error(where_, fmt::format("{} '{}' is not in the vocabulary", key, *token.text));
    return id;
  };
  bos_ = resolve(config_.bos, "bos_token");
  eos_ = resolve(config_.eos, "eos_token");
  pad_ = resolve(config_.pad, "pad_token");
  if (config_.unk.text) mark(*config_.unk.text);
  for (const std::string& text : config_.extra_special) mark(text);
}

void HfTokenizer::build_model(HfTokenizerFile& file, size_t own) {
  // Text must become neither a special token nor, by its spelling, a byte, so the model gets none
  // of them; what is one symbol stays, or the text of that symbol could not be encoded.
  std::vector<std::string> symbols;
  std::vector<bool> barred;
  for (size_t id = 0; id < own; ++id) {
    const std::string& piece = pieces_[id];
    std::string symbol = byte_level_ ? bytes_of_piece(piece).value_or("") : piece;
    bool one = byte_level_ ? symbol.size() == 1
                           : !symbol.empty() && first_code_point(symbol).length == symbol.size();
    bool spells_byte = file.byte_pieces && piece_byte(piece);
    barred.push_back((kinds_[id].special || spells_byte) && !one);
    symbols.push_back(barred.back() ? "" : std::move(symbol));
  }
  std::vector<TokenId> byte_ids;
  if (file.byte_fallback) {
    for (int byte = 0; byte < 256; ++byte) byte_ids.push_back(find(byte_piece(byte)).value_or(-1));
  }
  loses_unknown_ = !file.unknown;
  if (file.model == HfTokenizerFile::Model::kUnigram) {
    model_.emplace<UnigramModel>(UnigramVocabulary{.symbols = std::move(symbols),
                                                   .scores = std::move(file.scores),
                                                   .unknown = file.unknown,
                                                   .byte_ids = std::move(byte_ids)});
    return;
  }
  std::erase_if(file.merges, [&](const BpeVocabulary::Merge& merge) {
    return barred[static_cast<size_t>(merge.merged)];
  });
  model_.emplace<BpeModel>(BpeVocabulary{.symbols = std::move(symbols),
                                         .merges = std::move(file.merges),
                                         .byte_symbols = byte_level_,
                                         .byte_ids = std::move(byte_ids),
                                         .fuse_unknown = file.fuse_unknown,
                                         .ignore_merges = file.ignore_merges,
                                         .unknown = file.unknown,
                                         .space_sign = space_sign_});
}

std::string HfTokenizer::content_hash(const HfTokenizerFile& file) const {
  Hasher hasher;
  hasher.update_sized("tokenizer.json 2");  // counts the rules by which ids are made
  for (size_t id = 0; id < pieces_.size(); ++id) {
    hasher.update_sized(pieces_[id]).update(uint64_t{kinds_[id].special});
  }
  hasher.update(file.merges.size());
  for (const auto& merge : file.merges) {
    hasher.update(static_cast<uint64_t>(merge.left)).update(static_cast<uint64_t>(merge.right));
  }
  for (double score : file.scores) hasher.update_sized(fmt::format("{}", score));
  hasher.update(file.added.size());
  for (const AddedToken& token : file.added) {
    hasher.update(static_cast<uint64_t>(token.id));
    for (bool flag : {token.single_word, token.lstrip, token.rstrip, token.normalized}) {
      hasher.update(uint64_t{flag});
    }
  }
  for (bool flag : {file.byte_fallback, file.fuse_unknown, file.ignore_merges}) {
    hasher.update(uint64_t{flag});
  }
  for (auto id : {file.unknown, bos_, eos_, pad_}) {
    hasher.update(static_cast<uint64_t>(id.value_or(-1)));
  }
  hasher.update_sized(file.normalizer.description());
  hasher.update_sized(file.pre_tokenizer.description());
  return hasher.hex();
}

}  // namespace continuo
