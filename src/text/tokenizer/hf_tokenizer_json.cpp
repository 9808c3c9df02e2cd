#include "text/tokenizer/hf_tokenizer_json.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "text/tokenizer/post_processor.h"

namespace continuo {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson replace(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

OrderedJson decoder(bool dummy_prefix) {
  OrderedJson steps = OrderedJson::array(
      {replace(kSpaceSign, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (dummy_prefix)
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", steps}};
}

}  // namespace

std::string hf_unigram_json(const SentencePieceModel& model, const HfTokenizerConfig& config,
                            std::optional<TokenId> added_bos) {
  OrderedJson vocabulary = OrderedJson::array(), added = OrderedJson::array();
  int64_t unknown = 0;
  bool bytes = false;
  for (const auto& piece : model.pieces) {
    if (piece.type == SentencePieceModel::Type::kUnknown) unknown = std::ssize(vocabulary);
    bytes = bytes || piece.type == SentencePieceModel::Type::kByte;
    vocabulary.push_back(OrderedJson::array({piece.text, piece.score}));
  }
  for (const auto& [id, token] : config.added) {
    added.push_back({{"id", id},
                     {"content", token.text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", token.special}});
  }
  OrderedJson document{
      {"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", added}};
  // The dummy prefix stands before the first text alone, so it cannot be a normalizer.
  document["normalizer"] = model.add_dummy_prefix ? OrderedJson(nullptr) : replace(" ", kSpaceSign);
  document["pre_tokenizer"] = model.add_dummy_prefix ? OrderedJson{{"type", "Metaspace"},
                                                                   {"replacement", kSpaceSign},
                                                                   {"prepend_scheme", "first"},
                                                                   {"split", false}}
                                                     : OrderedJson(nullptr);
  document["post_processor"] = nullptr;
  if (added_bos) document["post_processor"] = bos_post_processor(*config.bos.text, *added_bos);
  document["decoder"] = decoder(model.add_dummy_prefix);
  document["model"] = {
      {"type", "Unigram"}, {"unk_id", unknown}, {"vocab", vocabulary}, {"byte_fallback", bytes}};
  return document.dump() + "\n";
}

}  // namespace continuo
