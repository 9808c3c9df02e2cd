// Small tokenizers that the tests of this layer share, trained once per process, and texts to try
// them on.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "support/temp_dir.h"
#include "text/tokenizer/sentencepiece_tokenizer.h"
#include "text/tokenizer/sentencepiece_trainer.h"

namespace continuo::test {

// The message of the Error that `body` throws; a failure when it throws none.
template <class Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

inline std::string small_corpus() {
  std::mt19937 random(7);
  const std::vector<std::string> words = {
      "the",     "quick", "brown",  "fox",      "jumps",   "over",  "lazy",  "dog",
      "coffee",  "shop",  "give",   "me",       "tagline", "for",   "a",     "new",
      "book",    "store", "answer", "question", "where",   "river", "house", "window",
      "morning", "light", "paper",  "stone",    "garden",  "winter"};
  const std::vector<std::string> endings = {"s", "ing", "ed", "ful", "ness", "ly", "er", "ment"};
  std::string text;
  for (int line = 0; line < 600; ++line) {
    for (int word = 0; word < 9; ++word) {
      text += words[random() % words.size()];
      if (word % 3 == 0) text += endings[random() % endings.size()];
      text += word == 4 ? (random() % 3 ? ", " : "  ") : " ";
    }
    text += std::to_string(random() % 1000) + (random() % 4 ? ".\n" : "!\n\n");
  }
  return text;
}

struct SmallKind {
  TokenizerModel model = TokenizerModel::kUnigram;
  bool dummy_prefix = false;
  bool byte_fallback = true;
  auto operator<=>(const SmallKind&) const = default;
};

inline TokenizerTrainConfig small_config(const SmallKind& kind, const std::string& input) {
  TokenizerTrainConfig config;
  config.inputs = {{.path = input, .fields = {}}};
  config.vocab_size = kind.byte_fallback ? 400 : 120;
  config.model = kind.model;
  config.byte_fallback = kind.byte_fallback;
  config.add_dummy_prefix = kind.dummy_prefix;
  config.specials = {"<|user|>", "<|bot|>"};
  config.threads = 1;
  return config;
}

inline const std::string& small_model(const SmallKind& kind = {}) {
  static std::map<SmallKind, std::string> models;
  std::string& model = models[kind];
  if (model.empty()) {
    TempDir directory;
    model = train_sentencepiece(
        small_config(kind, directory.write("corpus.txt", small_corpus()).string()));
  }
  return model;
}

// By value: g++ 14 takes what comes of a temporary for a part of it.
inline const SentencePieceTokenizer& small_tokenizer(SmallKind kind = {}) {
  static std::map<SmallKind, std::unique_ptr<SentencePieceTokenizer>> tokenizers;
  auto& tokenizer = tokenizers[kind];
  if (!tokenizer) tokenizer = std::make_unique<SentencePieceTokenizer>(small_model(kind));
  return *tokenizer;
}

inline std::vector<SmallKind> lossless_kinds() {
  return {{TokenizerModel::kUnigram, false},
          {TokenizerModel::kUnigram, true},
          {TokenizerModel::kBpe, false},
          {TokenizerModel::kBpe, true}};
}

// Words, white space of every sort, digits, emoji, CJK, U+2581, spelled specials and byte pieces,
// NUL.
inline std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> parts = {"the",
                                                 "fox",
                                                 " ",
                                                 "  ",
                                                 "\n",
                                                 "\n\n",
                                                 "\t",
                                                 "\r\n",
                                                 "coffee",
                                                 " shop",
                                                 "42",
                                                 "é",
                                                 "日本語",
                                                 "👩‍🚀",
                                                 "🙂",
                                                 "\xE2\x96\x81",
                                                 "\xE2\x96\x85",
                                                 "<|user|>",
                                                 "</s>",
                                                 "<0x41>",
                                                 ".",
                                                 "!",
                                                 "<unk>",
                                                 std::string("\0", 1),
                                                 "Ω",
                                                 "{x}"};
  std::string text;
  for (size_t n = random() % 12; n > 0; --n) text += parts[random() % parts.size()];
  return text;
}

}  // namespace continuo::test
