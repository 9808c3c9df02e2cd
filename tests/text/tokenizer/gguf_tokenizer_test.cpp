#include "text/tokenizer/gguf_tokenizer.h"

#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "text/tokenizer/golden_tokenizers.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using Json = nlohmann::json;

// What a converter writes of a byte-level tokenizer.json.
GgufVocabulary gguf_of(const std::string& name, const std::string& pre) {
  Json document = Json::parse(test::golden_json(name));
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = pre;
  const HfTokenizer& tokenizer = test::golden_tokenizer(name);
  for (TokenId id = 0; id < tokenizer.size(); ++id) {
    vocabulary.tokens.push_back(tokenizer.piece(id));
    vocabulary.types.push_back(tokenizer.is_special(id) ? 3 : 1);
  }
  for (const Json& merge : document["model"]["merges"]) {
    vocabulary.merges.push_back(merge.is_string() ? merge.get<std::string>()
                                                  : merge[0].get<std::string>() + " " +
                                                        merge[1].get<std::string>());
  }
  return vocabulary;
}

GgufVocabulary tiny_gguf() {
  return {.model = "llama",
          .pre = "",
          .tokens = {"<unk>", "<s>", "\u2581", "a", "b", "\u2581a", "ab", "<0x0A>"},
          .merges = {},
          .scores = {0, 0, -3, -4, -5, -1, -2, 0},
          .types = {2, 3, 1, 1, 1, 1, 1, 6},
          .bos = 1,
          .unknown = 0};
}

std::string gguf_fault(const GgufVocabulary& vocabulary) {
  return test::error_of([&] { make_gguf_tokenizer(vocabulary, "m.gguf"); });
}

TEST(GgufTokenizer, IdsAreThoseOfTheTokenizerItWasWrittenFrom) {
  for (auto [name, pre] : {std::pair{"gpt2", "gpt-2"},
                           {"llama3", "llama-bpe"},
                           {"qwen2", "qwen2"},
                           {"smollm2", "smollm"}}) {
    auto tokenizer = make_gguf_tokenizer(gguf_of(name, pre), "m.gguf");
    auto expected = test::golden_ids(name, "plain");
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(tokenizer->encode(test::golden_texts()[i]), expected[i])
          << name << ": " << test::golden_texts()[i];
    }
    test::TempDir directory;
    tokenizer->save(directory.path());
    EXPECT_EQ(load_tokenizer(directory.path())->hash(), tokenizer->hash());
  }
}

TEST(GgufTokenizer, PreTokenizersOfOtherFamilies) {
  auto make = [](const char* pre) { return make_gguf_tokenizer(gguf_of("o200k", pre), "m.gguf"); };
  Json document = Json::parse(test::golden_json("o200k"));
  document["normalizer"] = nullptr;
  HfTokenizer original(document.dump());
  auto gpt4o = make("gpt-4o"), tekken = make("tekken"), deepseek = make("deepseek-v3");
  for (const std::string& text : test::golden_texts()) {
    EXPECT_EQ(gpt4o->encode(text), original.encode(text)) << text;
    EXPECT_EQ(tekken->decode(tekken->encode(text)), text);
    EXPECT_EQ(deepseek->decode(deepseek->encode(text)), text);
  }
  // Digits one by one, and up to three of them.
  EXPECT_EQ(tekken->encode("123").size(), 3u);
  EXPECT_EQ(deepseek->encode("the 12"), gpt4o->encode("the 12"));
}

TEST(GgufTokenizer, ScoresBecomeMerges) {
  auto tokenizer = make_gguf_tokenizer(tiny_gguf(), "m.gguf");
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_TRUE(tokenizer->is_special(0));
  EXPECT_TRUE(tokenizer->has_dummy_prefix());
  EXPECT_EQ(tokenizer->encode("ab"), (std::vector<TokenId>{5, 4}));  // the sign joins before b does
  EXPECT_EQ(tokenizer->encode_continuation("ab"), std::vector<TokenId>{6});
  EXPECT_EQ(tokenizer->encode_continuation("\n"), std::vector<TokenId>{7});
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("ab b\n")), "ab b\n");
}

TEST(GgufTokenizer, FaultsNameTheKey) {
  auto says = [](auto&& change, const std::string& words) {
    GgufVocabulary vocabulary = tiny_gguf();
    change(vocabulary);
    std::string message = gguf_fault(vocabulary);
    EXPECT_NE(message.find(words), std::string::npos) << message;
    EXPECT_NE(message.find("m.gguf"), std::string::npos) << message;
  };
  using V = GgufVocabulary;
  says([](V& v) { v.model = "bert"; }, "tokenizer.ggml.model is 'bert'");
  says([](V& v) { v.model = "gpt2", v.pre = "lama-bpe"; }, "tokenizer.ggml.pre is 'lama-bpe'");
  says([](V& v) { v.tokens.clear(); }, "tokenizer.ggml.tokens is empty");
  says([](V& v) { v.tokens[3] = ""; }, "tokenizer.ggml.tokens[3] is empty");
  says([](V& v) { v.tokens[3] = "\xFF"; }, "tokenizer.ggml.tokens[3] is not UTF-8");
  says([](V& v) { v.tokens[3] = "b"; }, "tokenizer.ggml.tokens[4] repeats 'b' of 3");
  says([](V& v) { v.tokens[3] = std::string(5000, 'a'); }, "tokens[3] is longer than 1024 bytes");
  says([](V& v) { v.scores.pop_back(); }, "tokenizer.ggml.scores has 7 entries for 8 tokens");
  says([](V& v) { v.scores[2] = std::numeric_limits<float>::quiet_NaN(); },
       "scores[2] is not finite");
  says([](V& v) { v.types.pop_back(); }, "tokenizer.ggml.token_type has 7 entries");
  says([](V& v) { v.eos = 8; }, "the special token id 8 is outside");
  says([](V& v) { v.pad = -1; }, "the special token id -1 is outside");
  says([](V& v) { v.model = "gpt2", v.pre = "gpt-2", v.merges = {"a \xFF"}; },
       "merges[0] is not UTF-8");
  says([](V& v) { v.model = "gpt2", v.pre = "gpt-2", v.merges = {"a x"}; }, "merges[0] needs 'x'");
}

TEST(GgufTokenizer, MutatedVocabulariesAreErrorsOrWork) {
  std::mt19937 random(9);
  const std::vector<GgufVocabulary> originals = {tiny_gguf(), gguf_of("gpt2", "gpt-2")};
  int working = 0;
  for (int round = 0; round < 120; ++round) {
    GgufVocabulary vocabulary = originals[static_cast<size_t>(round % 8 == 0)];
    for (size_t edits = 1 + random() % 3; edits > 0; --edits) {
      auto token = [&]() -> std::string& {
        return vocabulary.tokens[random() % vocabulary.tokens.size()];
      };
      switch (random() % 8) {
        case 0:
          token() = std::string(random() % 6, static_cast<char>(random()));
          break;
        case 1:
          token() += token();
          break;
        case 2:
          vocabulary.types.assign(vocabulary.tokens.size(), static_cast<int32_t>(random() % 9) - 1);
          break;
        case 3:
          vocabulary.merges.push_back(token() + " " + token());
          break;
        case 4:
          vocabulary.scores.resize(vocabulary.tokens.size(), 1e30f);
          break;
        case 5:
          vocabulary.unknown = static_cast<TokenId>(random() % 12);
          break;
        case 6:
          vocabulary.model = vocabulary.model == "gpt2" ? "llama" : "gpt2";
          break;
        default:
          vocabulary.add_space_prefix = random() % 2;
          break;
      }
    }
    try {
      auto tokenizer = make_gguf_tokenizer(vocabulary, "m.gguf");
      for (const char* text : {"ab a\n", "<s>\u00e9 \U0001f642"})
        tokenizer->decode(tokenizer->encode(text));
      ++working;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(working, 10);
}

}  // namespace
}  // namespace continuo
