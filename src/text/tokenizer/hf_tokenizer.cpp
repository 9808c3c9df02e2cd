#include "text/tokenizer/hf_tokenizer.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/utf8.h"
#include "text/tokenizer/code_points.h"
#include "text/tokenizer/post_processor.h"

namespace continuo {

size_t HfTokenizer::place(TokenId id) const {
  if (id < 0 || id >= size()) fail("token id {} is outside the vocabulary of {}", id, size());
  return static_cast<size_t>(id);
}

std::optional<TokenId> HfTokenizer::byte_id(uint8_t byte) const {
  if (const auto* bpe = std::get_if<BpeModel>(&model_)) return bpe->byte_id(byte);
  return std::get<UnigramModel>(model_).byte_id(byte);
}

std::string HfTokenizer::lost_bytes() const {
  std::string bytes;
  if (!byte_level_ || !loses_unknown_) return bytes;
  for (int byte = 0; byte < 256; ++byte) {
    if (!byte_id(static_cast<uint8_t>(byte))) bytes += static_cast<char>(byte);
  }
  return bytes;
}

std::vector<TokenId> HfTokenizer::encode(std::string_view text) const {
  return encode_document(text, true, Mode::kPlain);
}

std::vector<TokenId> HfTokenizer::encode_continuation(std::string_view text) const {
  return encode_document(text, false, Mode::kPlain);
}

std::vector<TokenId> HfTokenizer::encode_with_specials(std::string_view text) const {
  return encode_document(text, true, Mode::kSpecials);
}

std::vector<TokenId> HfTokenizer::encode_document(std::string_view text, bool opening,
                                                  Mode mode) const {
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + 4);
  bool keeps_sign = keeps_sign_ && mode == Mode::kPlain;
  bool plain =
      is_ascii(text) || (!find_invalid_utf8(text) &&
                         !(keeps_sign && text.find(space_sign_) != std::string_view::npos));
  if (plain) {
    encode_valid(text, {opening, opening}, mode, ids);
    return ids;
  }
  size_t begin = 0;
  auto flush = [&](size_t end) {
    bool opens = opening && ids.empty();
    encode_valid(text.substr(begin, end - begin), {opens, opens}, mode, ids);
  };
  for (size_t at = 0; at < text.size();) {
    Utf8Step step = utf8_step(text.substr(at));
    std::string_view bytes = text.substr(at, step.length);
    bool valid = step.kind == Utf8Step::Kind::kComplete;
    if (!valid || (keeps_sign && bytes == space_sign_)) {
      flush(at);
      encode_invalid(bytes, ids);
      begin = at + step.length;
    }
    at += step.length;
  }
  flush(text.size());
  return ids;
}

void HfTokenizer::encode_invalid(std::string_view bytes, std::vector<TokenId>& ids) const {
  auto has_byte = [&](char c) { return byte_id(static_cast<uint8_t>(c)).has_value(); };
  if (!byte_level_ && !std::ranges::all_of(bytes, has_byte)) bytes = "\uFFFD";
  if (byte_level_ || bytes == "\uFFFD") {
    encode_word(bytes, ids);
    return;
  }
  for (char c : bytes) ids.push_back(*byte_id(static_cast<uint8_t>(c)));
}

void HfTokenizer::encode_word(std::string_view word, std::vector<TokenId>& ids) const {
  if (const auto* bpe = std::get_if<BpeModel>(&model_)) {
    bpe->encode(word, ids);
  } else {
    std::get<UnigramModel>(model_).encode(word, ids);
  }
}

void HfTokenizer::encode_valid(std::string_view text, PreTokenizer::Place place, Mode mode,
                               std::vector<TokenId>& ids) const {
  bool specials = mode == Mode::kSpecials;
  PreTokenizer::Words words;
  std::string storage;
  bool first = place.first;
  for (const auto& piece : raw_.split(text, specials)) {
    if (piece.id) {
      ids.push_back(*piece.id);
      first = false;
      continue;
    }
    std::string_view normalized = normalizer_.apply(piece.text, place.opening, storage);
    for (const auto& part : normalized_.split(normalized, specials)) {
      if (part.id) {
        ids.push_back(*part.id);
      } else {
        pre_tokenizer_.split(part.text, {place.opening, first}, words);
        for (std::string_view word : words.words) encode_word(word, ids);
      }
      first = false;
    }
  }
}

std::string HfTokenizer::json_with_bos(bool adds_bos) const {
  auto document = nlohmann::ordered_json::parse(json());
  document["post_processor"] = nullptr;
  if (adds_bos && bos_) document["post_processor"] = bos_post_processor(piece(*bos_), *bos_);
  return document.dump();
}

void HfTokenizer::save(const std::filesystem::path& directory, bool adds_bos) const {
  const bool same = adds_bos == adds_bos_;
  make_directories(directory);
  atomic_write(directory / "tokenizer.json", same ? json() : json_with_bos(adds_bos));
  for (const auto& [name, bytes] : config_.files) atomic_write(directory / name, bytes);
  if (!same || !config_.files.contains("tokenizer_config.json")) {
    atomic_write(directory / "tokenizer_config.json",
                 config_.dump("PreTrainedTokenizerFast", dummy_prefix_, adds_bos));
  }
}

}  // namespace continuo
