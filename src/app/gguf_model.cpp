#include "app/gguf_model.h"

#include "core/error.h"

namespace continuo {

namespace {

constexpr const char* kPrefix = "tokenizer.ggml.";

std::optional<TokenId> token_id(const GgufFile& file, const std::string& key, size_t count) {
  const auto id = file.integer(kPrefix + key);
  if (!id || *id < 0 || *id >= static_cast<int64_t>(count)) {
    if (id && *id != 0xFFFFFFFF) {
      throw Error(
          Location{.file = file.path().string()},
          fmt::format("{}{} is {}, the vocabulary has {} tokens", kPrefix, key, *id, count));
    }
    return std::nullopt;
  }
  return static_cast<TokenId>(*id);
}

template <class T>
std::vector<T> list(const GgufFile& file, const std::string& key) {
  const std::vector<T>* values = file.array<T>(kPrefix + key);
  return values ? *values : std::vector<T>();
}

GgufVocabulary read_vocabulary(const GgufFile& file) {
  GgufVocabulary v;
  const auto model = file.text(std::string(kPrefix) + "model");
  if (!model)
    throw Error(Location{.file = file.path().string()}, "tokenizer.ggml.model is missing");
  v.model = *model;
  v.pre = file.text(std::string(kPrefix) + "pre").value_or("");
  v.tokens = list<std::string>(file, "tokens");
  v.merges = list<std::string>(file, "merges");
  v.scores = list<float>(file, "scores");
  v.types = list<int32_t>(file, "token_type");
  v.bos = token_id(file, "bos_token_id", v.tokens.size());
  v.eos = token_id(file, "eos_token_id", v.tokens.size());
  v.pad = token_id(file, "padding_token_id", v.tokens.size());
  v.unknown = token_id(file, "unknown_token_id", v.tokens.size());
  v.add_space_prefix = file.flag(std::string(kPrefix) + "add_space_prefix").value_or(true);
  v.add_bos = file.flag(std::string(kPrefix) + "add_bos_token");
  return v;
}

}  // namespace

std::shared_ptr<const Tokenizer> read_gguf_tokenizer(const GgufFile& file) {
  return make_gguf_tokenizer([again = file.again()] { return read_vocabulary(again()); },
                             file.path().string());
}

std::string read_gguf_chat_template(const GgufFile& file) {
  return std::string(file.text("tokenizer.chat_template").value_or(""));
}

std::vector<int64_t> read_gguf_eos_ids(const GgufFile& file) {
  std::vector<int64_t> ids;
  for (const char* key : {"eos_token_id", "eot_token_id"}) {
    if (const auto id = file.integer(std::string(kPrefix) + key)) ids.push_back(*id);
  }
  return ids;
}

bool says_add_bos(const GgufFile& file) {
  return file.flag(std::string(kPrefix) + "add_bos_token").has_value();
}

void add_gguf_tokenizer(const Tokenizer& tokenizer, int64_t rows, const std::string& chat_template,
                        bool adds_bos, GgufMetadata& metadata) {
  GgufVocabulary v = gguf_vocabulary(tokenizer);
  constexpr int32_t kUnused = 5;
  while (static_cast<int64_t>(v.tokens.size()) < rows) {
    v.tokens.push_back(fmt::format("[PAD{}]", v.tokens.size()));
    v.types.push_back(kUnused);
    if (!v.scores.empty()) v.scores.push_back(-1e6f);
  }
  const auto add = [&](const std::string& key, GgufValue value) {
    metadata.emplace_back(kPrefix + key, std::move(value));
  };
  const auto add_id = [&](const std::string& key, std::optional<TokenId> id) {
    if (id) add(key, static_cast<uint32_t>(*id));
  };
  add("model", v.model);
  add("pre", v.pre);
  add("tokens", GgufArray(std::move(v.tokens)));
  add("token_type", GgufArray(std::move(v.types)));
  if (!v.scores.empty()) add("scores", GgufArray(std::move(v.scores)));
  if (!v.merges.empty()) add("merges", GgufArray(std::move(v.merges)));
  add_id("bos_token_id", v.bos);
  add_id("eos_token_id", v.eos);
  add_id("padding_token_id", v.pad);
  add_id("unknown_token_id", v.unknown);
  add("add_space_prefix", v.add_space_prefix);
  add("add_bos_token", adds_bos);
  add("add_eos_token", false);
  if (!chat_template.empty()) metadata.emplace_back("tokenizer.chat_template", chat_template);
}

}  // namespace continuo
