// A tokenizer as the metadata of a GGUF file.
#include <algorithm>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/tokenizer/gguf_tokenizer.h"
#include "text/tokenizer/hf_tokenizer.h"
#include "text/tokenizer/sentencepiece_tokenizer.h"

namespace continuo {
namespace {

using Json = nlohmann::json;

constexpr int32_t kNormalType = 1, kUnknownType = 2, kControlType = 3, kAddedType = 4,
                  kByteType = 6;

bool spells_byte(const std::string& piece) {
  return piece.size() == 6 && piece.starts_with("<0x") && piece.ends_with(">");
}

std::string merge_text(const Json& merge) {
  return merge.is_string() ? merge.get<std::string>()
                           : merge[0].get<std::string>() + " " + merge[1].get<std::string>();
}

// SentencePiece's scores from ranked merges: the earlier a piece can be made, the higher.
std::vector<float> scores_of_merges(const Json& merges, const GgufVocabulary& vocabulary) {
  std::map<std::string, float> rank;
  float next = 0;
  for (const Json& merge : merges) {
    std::string text = merge_text(merge);
    const size_t space = text.find(' ');
    text.erase(space, 1);
    rank.emplace(text, -(next++));
  }
  std::vector<float> scores;
  for (const std::string& token : vocabulary.tokens) {
    const auto found = rank.find(token);
    scores.push_back(found == rank.end() ? -1e6f : found->second);
  }
  return scores;
}

void describe(const HfTokenizer& tokenizer, GgufVocabulary& out) {
  const Json document = Json::parse(tokenizer.json());
  const Json& model = document["model"];
  if (model.value("type", "BPE") != "BPE") {
    throw Error("a tokenizer of type " + model.value("type", "") + " cannot be written to GGUF",
                "Supported: BPE.");
  }
  // Added tokens are found in a text before its pieces are, wherever else the vocabulary has them.
  std::set<TokenId> added;
  for (const Json& token : document.value("added_tokens", Json::array()))
    added.insert(token.at("id").get<TokenId>());
  const auto pre = gguf_pre_tokenizer(tokenizer.json());
  const bool bytes = model.value("byte_fallback", false);
  if (!pre && !bytes) {
    throw Error("llama.cpp has no name for this tokenizer's pre_tokenizer and normalizer",
                "A GGUF file would tokenize differently, so none is written.");
  }
  out.model = pre ? "gpt2" : "llama";
  out.pre = pre.value_or("default");
  out.add_space_prefix = tokenizer.has_dummy_prefix();
  for (TokenId id = 0; id < tokenizer.size(); ++id) {
    const std::string& piece = out.tokens[static_cast<size_t>(id)];
    int32_t& type = out.types[static_cast<size_t>(id)];
    if (added.contains(id)) type = kAddedType;
    if (!pre && spells_byte(piece)) type = kByteType;
    if (tokenizer.is_special(id)) type = kControlType;
  }
  if (pre) {
    for (const Json& merge : model.at("merges")) out.merges.push_back(merge_text(merge));
  } else {
    out.scores = scores_of_merges(model.at("merges"), out);
    const auto unknown = model.find("unk_token");
    if (unknown != model.end() && unknown->is_string())
      out.unknown = tokenizer.find(unknown->get<std::string>());
    if (out.unknown) out.types[static_cast<size_t>(*out.unknown)] = kUnknownType;
  }
}

void describe(const SentencePieceTokenizer& tokenizer, GgufVocabulary& out) {
  const SentencePieceModel model =
      parse_sentencepiece_model(tokenizer.model(), Location{.file = "tokenizer.model"});
  if (model.model_type != 2) {
    throw Error(
        "a SentencePiece model of type " + tokenizer.model_type() + " cannot be written to GGUF",
        "llama.cpp's SentencePiece is BPE; train the tokenizer with `model: bpe`.");
  }
  out.model = "llama";
  out.pre = "default";
  out.add_space_prefix = model.add_dummy_prefix;
  out.scores.assign(out.tokens.size(), -1e6f);
  for (size_t id = 0; id < out.tokens.size(); ++id) {
    if (id >= model.pieces.size()) {
      out.types[id] = tokenizer.is_special(static_cast<TokenId>(id)) ? kControlType : kAddedType;
      continue;
    }
    const SentencePieceModel::Piece& piece = model.pieces[id];
    out.scores[id] = piece.score;
    out.types[id] = static_cast<int32_t>(piece.type);
    if (piece.type == SentencePieceModel::Type::kUnknown) out.unknown = static_cast<TokenId>(id);
  }
}

}  // namespace

GgufVocabulary gguf_vocabulary(const Tokenizer& tokenizer) {
  GgufVocabulary out;
  for (TokenId id = 0; id < tokenizer.size(); ++id) out.tokens.push_back(tokenizer.piece(id));
  out.types.assign(out.tokens.size(), kNormalType);
  out.bos = tokenizer.bos();
  out.eos = tokenizer.eos();
  out.pad = tokenizer.pad();
  out.add_bos = tokenizer.adds_bos();
  if (const auto* hf = dynamic_cast<const HfTokenizer*>(&tokenizer)) {
    describe(*hf, out);
  } else if (const auto* sentencepiece = dynamic_cast<const SentencePieceTokenizer*>(&tokenizer)) {
    describe(*sentencepiece, out);
  } else {
    fail("this kind of tokenizer cannot be written to GGUF");
  }
  return out;
}

}  // namespace continuo
