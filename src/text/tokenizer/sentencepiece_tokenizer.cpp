#include "text/tokenizer/sentencepiece_tokenizer.h"

#include <algorithm>
#include <array>

#include <sentencepiece_processor.h>

#include "core/files.h"
#include "core/hash.h"
#include "core/utf8.h"
#include "text/tokenizer/hf_tokenizer_json.h"

namespace continuo {
namespace {

using Model = SentencePieceModel;
using Type = SentencePieceModel::Type;

std::string spaces_from_signs(std::string_view piece) {
  std::string bytes;
  for (size_t at = 0; at < piece.size();) {
    if (piece.substr(at).starts_with(kSpaceSign)) {
      bytes += ' ';
      at += kSpaceSign.size();
    } else {
      bytes += piece[at++];
    }
  }
  return bytes;
}

bool is_whitespace(std::string_view bytes) {
  return bytes.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// The value of "<0x0A>".
std::optional<int> byte_value(std::string_view piece) {
  for (int byte = 0; byte < 256; ++byte) {
    if (piece == fmt::format("<0x{:02X}>", byte)) return byte;
  }
  return {};
}

std::unique_ptr<sentencepiece::SentencePieceProcessor> load(std::string_view bytes,
                                                            const Location& where) {
  auto processor = std::make_unique<sentencepiece::SentencePieceProcessor>();
  sentencepiece::util::Status status = processor->LoadFromSerializedProto(bytes);
  if (!status.ok())
    throw Error(where, fmt::format("damaged SentencePiece model: {}", status.message()));
  return processor;
}

void check_supported(const Model& model, const Location& where) {
  auto unsupported = [&](std::string_view what) {
    throw Error(where, fmt::format("SentencePiece models that {} are not supported", what));
  };
  if (model.whitespace_as_suffix) unsupported("mark white space at the end of words");
  if (!model.escape_whitespaces) unsupported("do not escape white space");
  if (model.has_denormalization) unsupported("rewrite text when decoding");
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(std::string model, HfTokenizerConfig config,
                                               const std::string& name)
    : model_(std::move(model)), config_(std::move(config)), where_{.file = name} {
  Model parsed = parse_sentencepiece_model(model_, where_);
  check_supported(parsed, where_);
  dummy_prefix_ = parsed.add_dummy_prefix;
  model_type_ = parsed.model_type;
  build_vocabulary(parsed);

  // The library matches user-defined symbols in plain text and never control symbols: special ones
  // become the latter, so that nobody can type a special token.
  std::string encoding_model = model_;
  for (size_t id = 0; id < parsed.pieces.size(); ++id) {
    const Model::Piece& piece = parsed.pieces[id];
    if (piece.type == Type::kUserDefined && vocabulary_[id].special) {
      encoding_model[piece.type_offset] = static_cast<char>(Type::kControl);
    }
  }
  opening_ = load(encoding_model, where_);
  if (parsed.add_dummy_prefix || parsed.remove_extra_whitespaces) {
    continuing_ = load(without_dummy_prefix(encoding_model), where_);
  }
  resolve_named_tokens();
  hash_ = content_hash(encoding_model);
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

void SentencePieceTokenizer::build_vocabulary(const Model& model) {
  std::array<TokenId, 256> byte_ids;
  byte_ids.fill(-1);
  for (const Model::Piece& piece : model.pieces) {
    auto id = static_cast<TokenId>(vocabulary_.size());
    Entry entry{.piece = piece.text, .bytes = spaces_from_signs(piece.text), .special = false};
    auto named = config_.added.find(id);
    switch (piece.type) {
      case Type::kUnknown:
      case Type::kControl:
        entry.special = true;
        break;
      case Type::kUserDefined:
        entry.special =
            named != config_.added.end() ? named->second.special : !is_whitespace(entry.bytes);
        break;
      case Type::kByte:
        if (auto byte = byte_value(piece.text)) {
          byte_ids[static_cast<size_t>(*byte)] = id;
          entry.bytes = static_cast<char>(*byte);
        }
        break;
      case Type::kNormal:
      case Type::kUnused:
        break;
    }
    if (piece.type != Type::kNormal && piece.type != Type::kByte && piece.type != Type::kUnused) {
      config_.added.try_emplace(id, HfTokenizerConfig::AddedToken{piece.text, entry.special});
    }
    add_entry(std::move(entry));
  }
  for (const auto& [id, token] : config_.added) {
    if (id < size()) continue;
    if (id > size()) {
      throw Error(where_, fmt::format("added token '{}' has id {}, but the vocabulary ends at {}",
                                      token.text, id, size() - 1));
    }
    add_entry({.piece = token.text, .bytes = token.text, .special = token.special});
  }
  if (std::ranges::count(byte_ids, -1) == 0) byte_ids_.assign(byte_ids.begin(), byte_ids.end());
}

void SentencePieceTokenizer::add_entry(Entry entry) {
  if (entry.special) entry.bytes.clear();
  ids_.try_emplace(entry.piece, static_cast<TokenId>(vocabulary_.size()));
  vocabulary_.push_back(std::move(entry));
}

void SentencePieceTokenizer::resolve_named_tokens() {
  auto resolve = [&](HfTokenizerConfig::NamedToken& token, int model_id, std::string_view key) {
    if (!token.mentioned) {
      token.mentioned = true;
      if (model_id >= 0) token.text = piece(model_id);
    }
    if (!token.text) return std::optional<TokenId>{};
    std::optional<TokenId> id = find(*token.text);
    if (!id) throw Error(where_, fmt::format("{} '{}' is not in the vocabulary", key, *token.text));
    return id;
  };
  bos_ = resolve(config_.bos, opening_->bos_id(), "bos_token");
  eos_ = resolve(config_.eos, opening_->eos_id(), "eos_token");
  pad_ = resolve(config_.pad, opening_->pad_id(), "pad_token");
  resolve(config_.unk, opening_->unk_id(), "unk_token");
  adds_bos_ = bos_ && config_.add_bos.value_or(false);
}

const SentencePieceTokenizer::Entry& SentencePieceTokenizer::entry(TokenId id) const {
  if (id < 0 || id >= size()) fail("token id {} is outside the vocabulary of {}", id, size());
  return vocabulary_[static_cast<size_t>(id)];
}

std::optional<TokenId> SentencePieceTokenizer::find(std::string_view piece) const {
  auto found = ids_.find(std::string(piece));
  if (found == ids_.end()) return {};
  return found->second;
}

std::string SentencePieceTokenizer::model_type() const {
  static constexpr const char* kNames[] = {"unigram", "bpe", "word", "char"};
  return kNames[model_type_ - 1];
}

std::vector<TokenId> SentencePieceTokenizer::encode(std::string_view text) const {
  return encode_document(text, *opening_);
}

std::vector<TokenId> SentencePieceTokenizer::encode_continuation(std::string_view text) const {
  return encode_document(text, continuing_ ? *continuing_ : *opening_);
}

std::vector<TokenId> SentencePieceTokenizer::encode_document(std::string_view text,
                                                             const Processor& first) const {
  std::vector<TokenId> ids;
  bool plain = !find_invalid_utf8(text) && text.find(kSpaceSign) == std::string_view::npos;
  if (plain || byte_ids_.empty()) {
    append(first, text, ids);
    return ids;
  }
  // What the library would silently change (U+2581 to a space, ill-formed bytes to U+FFFD) goes in
  // as bytes.
  const Processor& later = continuing_ ? *continuing_ : *opening_;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    Utf8Step step = utf8_step(text.substr(at));
    bool literal =
        step.kind != Utf8Step::Kind::kComplete || text.substr(at, step.length) == kSpaceSign;
    if (literal) {
      append(ids.empty() ? first : later, text.substr(begin, at - begin), ids);
      for (char byte : text.substr(at, step.length))
        ids.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
      begin = at + step.length;
    }
    at += step.length;
  }
  append(ids.empty() ? first : later, text.substr(begin), ids);
  return ids;
}

void SentencePieceTokenizer::append(const Processor& processor, std::string_view text,
                                    std::vector<TokenId>& ids) const {
  if (text.empty()) return;
  std::vector<int> encoded;
  sentencepiece::util::Status status = processor.Encode(text, &encoded);
  if (!status.ok()) fail("SentencePiece cannot encode {} bytes: {}", text.size(), status.message());
  ids.insert(ids.end(), encoded.begin(), encoded.end());
}

std::string SentencePieceTokenizer::content_hash(std::string_view encoding_model) const {
  Hasher hasher;
  hasher.update_sized(encoding_model);
  for (auto id : {bos_, eos_, pad_}) hasher.update(static_cast<uint64_t>(id.value_or(-1)));
  for (size_t id = 0; id < vocabulary_.size(); ++id) {
    if (vocabulary_[id].special) hasher.update(id).update_sized(vocabulary_[id].piece);
  }
  return hasher.hex();
}

void SentencePieceTokenizer::save(const std::filesystem::path& directory, bool adds_bos) const {
  make_directories(directory);
  atomic_write(directory / "tokenizer.model", model_);
  SentencePieceModel model = parse_sentencepiece_model(model_, where_);
  bool unigram =
      model.model_type == 1 && !model.has_normalization && !model.remove_extra_whitespaces;
  if (unigram) {
    atomic_write(directory / "tokenizer.json",
                 hf_unigram_json(model, config_, adds_bos ? bos_ : std::nullopt));
  }
  atomic_write(directory / "tokenizer_config.json",
               config_.dump(unigram ? "PreTrainedTokenizerFast" : "LlamaTokenizer", dummy_prefix_,
                            adds_bos));
}

}  // namespace continuo
