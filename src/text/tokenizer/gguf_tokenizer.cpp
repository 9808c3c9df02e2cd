#include "text/tokenizer/gguf_tokenizer.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/suggest.h"
#include "core/utf8.h"
#include "text/tokenizer/flat_maps.h"
#include "text/tokenizer/hf_tokenizer.h"
#include "text/tokenizer/post_processor.h"
#include "text/tokenizer/score_merges.h"

namespace continuo {
namespace {

using Json = nlohmann::json;

enum GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kByte = 6
};

constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepSeek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json split(const char* regex) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

Json sequence(const char* list, std::initializer_list<Json> steps) {
  return {{"type", "Sequence"}, {list, Json(Json::array_t(steps))}};
}

// What llama.cpp's names of pre-tokenizers stand for.
struct Pre {
  std::vector<std::string> names;
  Json pre_tokenizer;
  bool ignore_merges = false;
  bool nfc = false;
};

// Whether llama.cpp opens texts with BOS where the file does not say: with SentencePiece's models,
// and with the pre-tokenizers of which its llama-vocab.cpp says so.
bool adds_bos_by_default(const GgufVocabulary& vocabulary) {
  if (vocabulary.model == "llama") return true;
  constexpr std::string_view kAdding[] = {"llama-bpe", "llama3", "llama-v3", "falcon3", "tekken"};
  return std::ranges::find(kAdding, vocabulary.pre) != std::end(kAdding);
}

const std::vector<Pre>& pre_table() {
  auto list = "pretokenizers";
  static const std::vector<Pre> table = {
      {{"gpt-2", "mpt", "olmo", "phi-2", "jais", "trillion", "granite-docling"}, byte_level(true)},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"},
       sequence(list, {{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)})},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "dbrx", "smaug-bpe"},
       sequence(list, {split(kLlama3), byte_level(false)}),
       true},
      {{"qwen2", "deepseek-r1-qwen", "stablelm2"},
       sequence(list, {split(kQwen2), byte_level(false)}),
       false,
       true},
      {{"tekken"}, sequence(list, {split(kTekken), byte_level(false)}), true},
      {{"gpt-4o"}, sequence(list, {split(kGpt4o), byte_level(false)})},
      {{"deepseek-v3"},
       sequence(list, {split(R"(\p{N}{1,3})"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
                       split(kDeepSeek3), byte_level(false)})},
      {{"default", ""},
       sequence(list,
                {split(R"([\p{P}\$\+<=>\^~\|]+)"),
                 split(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))"),
                 split(R"(\p{N}+)"), split("[0-9][0-9][0-9]"), byte_level(false)})}};
  return table;
}

class Builder {
 public:
  Builder(GgufVocabulary vocabulary, const std::string& name)
      : in_(std::move(vocabulary)), where_{.file = name} {
    check();
  }

  // The tokenizer.json that stands for it, and takes the tokens.
  HfTokenizerDocument document() && {
    HfTokenizerDocument document;
    Json& rest = document.rest;
    rest = {{"version", "1.0"},        {"truncation", nullptr},
            {"padding", nullptr},      {"post_processor", post_processor()},
            {"added_tokens", added()}, {"normalizer", nullptr},
            {"pre_tokenizer", nullptr}};
    rest["model"] = {{"type", "BPE"},
                     {"dropout", nullptr},
                     {"unk_token", nullptr},
                     {"continuing_subword_prefix", nullptr},
                     {"end_of_word_suffix", nullptr},
                     {"fuse_unk", false},
                     {"byte_fallback", false},
                     {"vocab", Json::object()},
                     {"merges", Json::array()}};
    if (in_.model == "gpt2") {
      fill_gpt2(document);
    } else if (in_.model == "llama") {
      fill_llama(document);
    } else {
      refuse(fmt::format("tokenizer.ggml.model is '{}', which is not supported", in_.model),
             "supported are gpt2 and llama");
    }
    document.pieces.reserve(in_.tokens.size());
    for (size_t id = 0; id < in_.tokens.size(); ++id)
      document.pieces.push_back({std::move(in_.tokens[id]), id});
    return document;
  }

  HfTokenizerConfig config() const {
    HfTokenizerConfig config;
    auto name = [&](std::optional<TokenId> id, HfTokenizerConfig::NamedToken& token) {
      token.mentioned = true;
      if (id) token.text = in_.tokens[static_cast<size_t>(*id)];
    };
    name(in_.bos, config.bos);
    name(in_.eos, config.eos);
    name(in_.pad, config.pad);
    name(in_.unknown, config.unk);
    return config;
  }

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& hint = {}) const {
    throw Error(where_, what, hint);
  }

  int32_t type(size_t id) const { return in_.types.empty() ? kNormal : in_.types[id]; }

  void check() {
    size_t count = in_.tokens.size();
    if (count == 0) refuse("tokenizer.ggml.tokens is empty");
    if (!in_.types.empty() && in_.types.size() != count) {
      refuse(fmt::format("tokenizer.ggml.token_type has {} entries for {} tokens", in_.types.size(),
                         count));
    }
    index_ = StringIndex(count);
    for (size_t id = 0; id < count; ++id) {
      const std::string& token = in_.tokens[id];
      if (token.empty()) refuse(fmt::format("tokenizer.ggml.tokens[{}] is empty", id));
      if (token.size() > kLongestPiece) {
        refuse(fmt::format("tokenizer.ggml.tokens[{}] is longer than {} bytes", id, kLongestPiece));
      }
      if (find_invalid_utf8(token)) {
        refuse(fmt::format("tokenizer.ggml.tokens[{}] is not UTF-8", id));
      }
      if (!index_.insert(in_.tokens, static_cast<int32_t>(id))) {
        refuse(fmt::format("tokenizer.ggml.tokens[{}] repeats '{}' of {}", id, token,
                           *index_.find(in_.tokens, token)));
      }
    }
    for (auto id : {in_.bos, in_.eos, in_.pad, in_.unknown}) {
      if (id && (*id < 0 || static_cast<size_t>(*id) >= count)) {
        refuse(fmt::format("the special token id {} is outside the vocabulary of {}", *id, count));
      }
    }
  }

  Json post_processor() const {
    if (!in_.bos || !in_.add_bos.value_or(adds_bos_by_default(in_))) return nullptr;
    return bos_post_processor(in_.tokens[static_cast<size_t>(*in_.bos)], *in_.bos);
  }

  Json added() const {
    Json list = Json::array();
    for (size_t id = 0; id < in_.tokens.size(); ++id) {
      bool special = type(id) == kControl || type(id) == kUnknown;
      if (!special && type(id) != kUserDefined) continue;
      list.push_back({{"id", id},
                      {"content", in_.tokens[id]},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", false},
                      {"special", special}});
    }
    return list;
  }

  void fill_gpt2(HfTokenizerDocument& document) const {
    const Pre* pre = nullptr;
    std::vector<std::string> names;
    for (const Pre& row : pre_table()) {
      if (std::ranges::count(row.names, in_.pre) > 0) pre = &row;
      names.insert(names.end(), row.names.begin(), row.names.end());
    }
    if (!pre) {
      refuse(fmt::format("tokenizer.ggml.pre is '{}', which is not supported", in_.pre),
             did_you_mean(in_.pre, names));
    }
    Json& rest = document.rest;
    rest["pre_tokenizer"] = pre->pre_tokenizer;
    if (pre->nfc) rest["normalizer"] = {{"type", "NFC"}};
    rest["decoder"] = byte_level(true);
    rest["model"]["ignore_merges"] = pre->ignore_merges;
    for (size_t i = 0; i < in_.merges.size(); ++i) {
      if (find_invalid_utf8(in_.merges[i]))
        refuse(fmt::format("tokenizer.ggml.merges[{}] is not UTF-8", i));
      document.merges.push_back(HfTokenizerDocument::split_merge(in_.merges[i], i, where_));
    }
  }

  void fill_llama(HfTokenizerDocument& document) const {
    constexpr const char* kSign = "\u2581";
    Json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSign}};
    Json restore = {{"type", "Replace"}, {"pattern", {{"String", kSign}}}, {"content", " "}};
    Json strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
    Json bytes = {{"type", "ByteFallback"}}, fuse = {{"type", "Fuse"}};
    Json &rest = document.rest, &model = rest["model"];
    if (in_.add_space_prefix) {
      Json prepend = {{"type", "Prepend"}, {"prepend", kSign}};
      rest["normalizer"] = sequence("normalizers", {prepend, replace});
      rest["decoder"] = sequence("decoders", {restore, bytes, fuse, strip});
    } else {
      rest["normalizer"] = replace;
      rest["decoder"] = sequence("decoders", {restore, bytes, fuse});
    }
    model["byte_fallback"] = true;
    model["fuse_unk"] = true;
    if (in_.unknown) model["unk_token"] = in_.tokens[static_cast<size_t>(*in_.unknown)];
    document.known_merges = merges();
  }

  std::vector<BpeVocabulary::Merge> merges() const {
    if (in_.scores.size() != in_.tokens.size()) {
      refuse(fmt::format("tokenizer.ggml.scores has {} entries for {} tokens", in_.scores.size(),
                         in_.tokens.size()));
    }
    std::vector<bool> joined(in_.tokens.size());
    for (size_t id = 0; id < in_.tokens.size(); ++id) {
      if (!std::isfinite(in_.scores[id])) {
        refuse(fmt::format("tokenizer.ggml.scores[{}] is not finite", id));
      }
      joined[id] = is_joined(id);
    }
    return merges_of_scores(in_.tokens, in_.scores, joined, index_);
  }

  bool is_joined(size_t id) const {
    return type(id) != kControl && type(id) != kUnknown && type(id) != kByte;
  }

  GgufVocabulary in_;
  Location where_;
  StringIndex index_;  // of the tokens
};

}  // namespace

std::shared_ptr<const Tokenizer> make_gguf_tokenizer(std::function<GgufVocabulary()> read,
                                                     const std::string& name) {
  HfTokenizerConfig config;
  HfTokenizerDocument document;
  {
    Builder builder(read(), name);
    config = builder.config();
    document = std::move(builder).document();
  }
  const auto again = [read = std::move(read), name] {
    return Builder(read(), name).document().dump();
  };
  return std::make_shared<HfTokenizer>(std::move(document), std::move(config), name, again);
}

std::optional<std::string> gguf_pre_tokenizer(const std::string& tokenizer_json) {
  Json document = Json::parse(tokenizer_json);
  // Offsets are not part of what a text's ids are.
  auto plain = [](Json step, auto& self) -> Json {
    step.erase("trim_offsets");
    if (step.value("type", "") == "ByteLevel") step.emplace("use_regex", true);
    if (step.contains("pretokenizers")) {
      for (Json& inner : step["pretokenizers"]) inner = self(inner, self);
    }
    return step;
  };
  const Json& steps = document["pre_tokenizer"];
  const Json& normalizer = document["normalizer"];
  if (!steps.is_object()) return std::nullopt;
  for (const Pre& row : pre_table()) {
    bool same_normalizer = row.nfc ? normalizer == Json{{"type", "NFC"}} : normalizer.is_null();
    if (same_normalizer && plain(steps, plain) == plain(row.pre_tokenizer, plain)) {
      return row.names.front();
    }
  }
  return std::nullopt;
}

}  // namespace continuo
