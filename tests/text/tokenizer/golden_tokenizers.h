// The golden tokenizers of tests/golden/tokenizers with the texts and ids that belong to them, and
// a tokenizer.json small enough to take apart in a test.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/temp_dir.h"
#include "text/tokenizer/hf_tokenizer.h"

namespace continuo::test {

inline const std::vector<std::string>& golden_names() {
  static const std::vector<std::string> names = {
      "behaviors", "bloom", "gemma",  "gpt2",  "llama2",  "llama3",  "mistral",
      "neox",      "o200k", "prefix", "qwen2", "smollm2", "unigram", "unknown"};
  return names;
}

inline std::filesystem::path golden_directory(const std::string& name = "") {
  return std::filesystem::path(CONTINUO_SOURCE_DIR) / "tests/golden/tokenizers" / name;
}

inline std::string golden_json(const std::string& name) {
  return test::read_file(golden_directory(name) / "tokenizer.json");
}

// A view: g++ 14 takes what comes of a temporary string for a part of it.
inline const HfTokenizer& golden_tokenizer(std::string_view view) {
  static std::map<std::string, std::unique_ptr<HfTokenizer>> tokenizers;
  const std::string name(view);
  auto& tokenizer = tokenizers[name];
  if (!tokenizer) tokenizer = std::make_unique<HfTokenizer>(golden_json(name));
  return *tokenizer;
}

inline const std::vector<std::string>& golden_texts() {
  static const auto texts = nlohmann::json::parse(test::read_file(golden_directory("texts.json")))
                                .get<std::vector<std::string>>();
  return texts;
}

// `kind`: "plain" or "special". One list of ids for each of the texts.
inline std::vector<std::vector<TokenId>> golden_ids(const std::string& name,
                                                    const std::string& kind) {
  return nlohmann::json::parse(test::read_file(golden_directory(name) / "ids.json"))
      .at(kind)
      .get<std::vector<std::vector<TokenId>>>();
}

// a, b, c, ab over characters and the special token <s>.
inline nlohmann::json tiny_tokenizer() {
  return nlohmann::json::parse(R"({"version": "1.0",
      "added_tokens": [{"id": 4, "content": "<s>", "special": true}],
      "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
      "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3}, "merges": ["a b"]}})");
}

inline std::vector<TokenId> ids_of(const nlohmann::json& document, std::string_view text) {
  return HfTokenizer(document.dump()).encode(text);
}

}  // namespace continuo::test
