// Which texts open with BOS: what transformers does with the same files (tests/golden/bos.json,
// written by scripts/golden/make_bos.py), and that what we save says the same.
#include <gtest/gtest.h>

#include "text/prompt/prompt_template.h"
#include "text/tokenizer/gguf_tokenizer.h"
#include "text/tokenizer/golden_tokenizers.h"

namespace continuo {
namespace {

using Json = nlohmann::json;
using test::TempDir;

Json golden() {
  return Json::parse(
      test::read_file(test::golden_directory().parent_path().parent_path() / "bos.json"));
}

// The directory that the case describes.
void write_case(const Json& test_case, const TempDir& directory) {
  directory.write("tokenizer_config.json", test_case["config"].dump());
  const std::string tokenizer = test_case["tokenizer"];
  if (tokenizer == "sentencepiece") {
    const auto base = test::golden_directory().parent_path().parent_path() / "old_run/base";
    directory.write("tokenizer.model", test::read_file(base / "tokenizer.model"));
    return;
  }
  Json document = Json::parse(test::golden_json(tokenizer));
  document["post_processor"] = test_case["post_processor"];
  directory.write("tokenizer.json", document.dump());
}

// What transformers puts behind every text (`add_eos_token`) is no part of a prompt.
std::vector<TokenId> without_end(std::vector<TokenId> ids, const Tokenizer& tokenizer,
                                 const std::vector<TokenId>& of_nothing) {
  if (!of_nothing.empty() && of_nothing.back() == tokenizer.eos()) ids.pop_back();
  return ids;
}

std::vector<TokenId> prompt_ids(const Tokenizer& tokenizer, const std::string& text) {
  const PromptTemplate plain{PromptConfig{}};
  return encode_prompt(tokenizer, plain, plain.render_prompt(text));
}

TEST(BosConvention, IsThatOfTransformersForEveryFamilyAndConvention) {
  const Json table = golden();
  int opening = 0;
  for (const Json& test_case : table["cases"]) {
    const TempDir directory;
    write_case(test_case, directory);
    const auto tokenizer = load_tokenizer(directory.path());
    const auto ids = test_case["ids"].get<std::vector<std::vector<TokenId>>>();
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(prompt_ids(*tokenizer, table["texts"][i]), without_end(ids[i], *tokenizer, ids[1]))
          << test_case["name"] << ": " << table["texts"][i];
    }
    opening += tokenizer->adds_bos();
  }
  EXPECT_EQ(table["cases"].size(), 48U);
  EXPECT_EQ(opening, 20);
}

TEST(BosConvention, SurvivesSavingAndLoading) {
  for (const Json& test_case : golden()["cases"]) {
    const TempDir directory, saved, other;
    write_case(test_case, directory);
    const auto tokenizer = load_tokenizer(directory.path());
    tokenizer->save(saved.path());
    const auto again = load_tokenizer(saved.path());
    EXPECT_EQ(again->adds_bos(), tokenizer->adds_bos()) << test_case["name"];
    EXPECT_EQ(again->hash(), tokenizer->hash()) << test_case["name"];
    // And what a template says instead.
    tokenizer->save(other.path(), !tokenizer->adds_bos());
    const auto changed = load_tokenizer(other.path());
    EXPECT_EQ(changed->adds_bos(), !tokenizer->adds_bos() && tokenizer->bos().has_value())
        << test_case["name"];
    EXPECT_EQ(changed->hash(), tokenizer->hash()) << test_case["name"];
  }
}

// The convention is no part of what a text's ids are, so tokenizers of older runs stay the same.
TEST(BosConvention, IsNotPartOfTheHash) {
  Json document = test::tiny_tokenizer();
  HfTokenizerConfig config;
  config.bos = {.mentioned = true, .text = "<s>"};
  const HfTokenizer without(document.dump(), config);
  document["post_processor"] = Json::parse(
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                   {"Sequence": {"id": "A", "type_id": 0}}]})");
  const HfTokenizer with(document.dump(), config), unnamed(document.dump());
  EXPECT_FALSE(without.adds_bos());
  EXPECT_TRUE(with.adds_bos());
  EXPECT_EQ(with.hash(), without.hash());
  EXPECT_TRUE(unnamed.adds_bos());
  EXPECT_EQ(unnamed.bos(), 4);
}

// llama-vocab.cpp of llama.cpp: SentencePiece models open texts with BOS, and the pre-tokenizers
// llama-bpe and tekken with their kin; `add_bos_token` decides where it stands.
TEST(BosConvention, OfGgufFilesIsThatOfLlamaCpp) {
  GgufVocabulary vocabulary{.model = "gpt2",
                            .pre = "",
                            .tokens = {"a", "b", "ab", "<s>"},
                            .merges = {"a b"},
                            .scores = {},
                            .types = {1, 1, 1, 3},
                            .bos = 3};
  const auto adds = [&] { return make_gguf_tokenizer(vocabulary, "m.gguf")->adds_bos(); };
  for (const char* pre : {"llama-bpe", "llama3", "llama-v3", "falcon3", "tekken"}) {
    vocabulary.pre = pre;
    EXPECT_TRUE(adds()) << pre;
  }
  for (const char* pre : {"gpt-2", "smollm", "qwen2", "gpt-4o", "deepseek-v3", "default", ""}) {
    vocabulary.pre = pre;
    EXPECT_FALSE(adds()) << pre;
    vocabulary.add_bos = true;
    EXPECT_TRUE(adds()) << pre;
    vocabulary.add_bos.reset();
  }
  vocabulary.pre = "llama-bpe";
  vocabulary.add_bos = false;
  EXPECT_FALSE(adds());
  vocabulary.model = "llama";
  vocabulary.scores = {-1, -2, -3, 0};
  EXPECT_FALSE(adds());
  vocabulary.add_bos.reset();
  EXPECT_TRUE(adds());
  vocabulary.bos.reset();
  EXPECT_FALSE(adds()) << "there is no such token";
}

TEST(BosConvention, TravelsBetweenGgufAndDirectories) {
  for (const bool adds : {false, true}) {
    GgufVocabulary vocabulary{.model = "llama",
                              .pre = "",
                              .tokens = {"<unk>", "<s>", "\u2581", "a", "\u2581a"},
                              .merges = {},
                              .scores = {0, 0, -3, -4, -1},
                              .types = {2, 3, 1, 1, 1},
                              .bos = 1,
                              .unknown = 0,
                              .add_bos = adds};
    const auto tokenizer = make_gguf_tokenizer(vocabulary, "m.gguf");
    const TempDir directory;
    tokenizer->save(directory.path());
    const auto again = load_tokenizer(directory.path());
    EXPECT_EQ(again->adds_bos(), adds);
    EXPECT_EQ(gguf_vocabulary(*again).add_bos, adds);
    const Json written = Json::parse(test::read_file(directory.path() / "tokenizer_config.json"));
    EXPECT_EQ(written["add_bos_token"], adds);
  }
}

}  // namespace
}  // namespace continuo
