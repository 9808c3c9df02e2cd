#include <algorithm>

#include <gtest/gtest.h>

#include "text/prompt/prompt_template.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using test::lossless_kinds;
using test::small_tokenizer;
using test::SmallKind;

std::vector<PromptConfig> templates() {
  std::vector<PromptConfig> all(5);
  all[1] = {.prompt = "", .completion = "{text}"};
  all[2] = {.prompt = "<|user|>{prompt}<|bot|>",
            .completion = "{completion}",
            .specials = {"<|user|>", "<|bot|>"}};
  all[3] = {.prompt = "Q: {prompt}\nA:", .completion = " {completion}\n", .bos = BosRule::kTrue};
  all[4] = {.prompt = "<s>{prompt}",
            .completion = "{completion}</s>",
            .specials = {"<s>", "</s>"},
            .bos = BosRule::kTrue};
  return all;
}

bool starts_with(std::span<const TokenId> ids, std::span<const TokenId> prefix) {
  return ids.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), ids.begin());
}

TEST(PromptEncoding, ByHand) {
  const auto& tokenizer = small_tokenizer();
  PromptTemplate prompt(PromptConfig{
      .prompt = "<|user|> the<|bot|>", .completion = "{a}", .specials = {"<|user|>", "<|bot|>"}});
  TokenId the = *tokenizer.find("▁the");
  MaskedTokens encoded =
      encode_training(tokenizer, prompt, prompt.render(Fields{{"a", " the the"}}));
  EXPECT_EQ(encoded.tokens, (std::vector<TokenId>{4, the, 5, the, the, 2}));
  EXPECT_EQ(encoded.trained, (std::vector<uint8_t>{0, 0, 0, 1, 1, 1}));
}

TEST(PromptEncoding, GenerationSeesExactlyTheUntrainedPrefix) {
  std::mt19937 random(21);
  for (const SmallKind& kind : lossless_kinds()) {
    const auto& tokenizer = small_tokenizer(kind);
    for (const PromptConfig& config : templates()) {
      PromptTemplate prompt(config);
      for (int i = 0; i < 300; ++i) {
        Fields record{{"prompt", test::random_text(random)},
                      {"completion", test::random_text(random)}};
        record["text"] = record["completion"];
        std::vector<Segment> segments = prompt.render(record);
        MaskedTokens full = encode_training(tokenizer, prompt, segments);
        std::vector<TokenId> ids = encode_prompt(tokenizer, prompt, prompt.render_prompt(record));
        ASSERT_TRUE(starts_with(full.tokens, ids));
        ASSERT_EQ(encode_prompt(tokenizer, prompt, segments), ids);
        ASSERT_EQ(full.tokens.size(), full.trained.size());
        for (size_t t = 0; t < full.tokens.size(); ++t) ASSERT_EQ(full.trained[t], t >= ids.size());
        // End-of-sequence once, at the end, trained; BOS once where asked for.
        ASSERT_EQ(std::ranges::count(full.tokens, *tokenizer.eos()), 1);
        ASSERT_EQ(full.tokens.back(), *tokenizer.eos());
        ASSERT_EQ(std::ranges::count(full.tokens, *tokenizer.bos()),
                  config.bos == BosRule::kTrue ? 1 : 0);
        if (config.bos == BosRule::kTrue) {
          ASSERT_EQ(full.tokens.front(), *tokenizer.bos());
        }
        // Nothing is lost: the document decodes to its text.
        std::string text;
        for (const Segment& segment : segments) text += segment.special ? "" : segment.text;
        ASSERT_EQ(tokenizer.decode(full.tokens), text);
      }
    }
  }
}

// "the" + " fox" would merge differently as one text; the completion must not reach back.
TEST(PromptEncoding, TheCompletionNeverChangesThePrompt) {
  for (const SmallKind& kind : lossless_kinds()) {
    const auto& tokenizer = small_tokenizer(kind);
    PromptTemplate prompt{PromptConfig{}};
    std::vector<TokenId> alone = tokenizer.encode("give me a cof");
    MaskedTokens encoded = encode_training(
        tokenizer, prompt,
        prompt.render(Fields{{"prompt", "give me a cof"}, {"completion", "fee shop"}}));
    EXPECT_TRUE(starts_with(encoded.tokens, alone));
    EXPECT_NE(encoded.tokens, tokenizer.encode("give me a coffee shop"))
        << "the merge that must not happen";
    EXPECT_EQ(std::count(encoded.trained.begin(), encoded.trained.end(), 0), std::ssize(alone));
  }
}

TEST(PromptEncoding, EmptySides) {
  const auto& tokenizer = small_tokenizer({TokenizerModel::kUnigram, true});
  PromptTemplate prompt{PromptConfig{}};
  MaskedTokens no_completion = encode_training(
      tokenizer, prompt, prompt.render(Fields{{"prompt", "the"}, {"completion", ""}}));
  EXPECT_EQ(no_completion.tokens, (std::vector<TokenId>{*tokenizer.find("▁the"), 2}));
  EXPECT_EQ(no_completion.trained, (std::vector<uint8_t>{0, 1}));
  MaskedTokens no_prompt = encode_training(
      tokenizer, prompt, prompt.render(Fields{{"prompt", ""}, {"completion", "the"}}));
  EXPECT_EQ(no_prompt.tokens, (std::vector<TokenId>{*tokenizer.find("▁the"), 2}))
      << "the text opens the document";
  EXPECT_EQ(no_prompt.trained, (std::vector<uint8_t>{1, 1}));
}

TEST(PromptEncoding, EveryAnswerOfAConversationEndsOnce) {
  std::mt19937 random(22);
  PromptConfig config;
  config.user = "<|user|>{content}\n";
  config.assistant = "<|bot|>{content}";
  config.specials = {"<|user|>", "<|bot|>"};
  for (PromptConfig shape : {config, PromptConfig{}}) {
    PromptTemplate prompt(shape);
    for (const SmallKind& kind : lossless_kinds()) {
      const auto& tokenizer = small_tokenizer(kind);
      for (int i = 0; i < 200; ++i) {
        std::vector<Turn> turns;
        int64_t answers = 0;
        for (size_t n = random() % 6; n > 0; --n) {
          bool answer = random() % 2;
          answers += answer;
          turns.push_back({answer ? "assistant" : "user", test::random_text(random)});
        }
        turns.push_back({"assistant", test::random_text(random)});
        MaskedTokens full = encode_training(tokenizer, prompt, prompt.render(turns));
        ASSERT_EQ(std::ranges::count(full.tokens, *tokenizer.eos()), answers + 1);
        for (size_t t = 0; t < full.tokens.size(); ++t) {
          if (full.tokens[t] == tokenizer.eos()) {
            ASSERT_TRUE(full.trained[t]);
          }
        }
        std::vector<TokenId> ids = encode_prompt(tokenizer, prompt, prompt.render_prompt(turns));
        ASSERT_TRUE(starts_with(full.tokens, ids));
        bool all_trained = std::all_of(full.trained.begin() + std::ssize(ids), full.trained.end(),
                                       [](auto t) { return t; });
        ASSERT_TRUE(all_trained);
      }
    }
  }
}

std::vector<TokenId> ids_with(const Tokenizer& tokenizer, PromptConfig config, std::string text) {
  const PromptTemplate prompt(std::move(config));
  return encode_prompt(tokenizer, prompt, prompt.render_prompt(text));
}

// A tokenizer whose files say that texts open with BOS.
const Tokenizer& opening_tokenizer() {
  static const auto tokenizer = [] {
    HfTokenizerConfig config;
    config.add_bos = true;
    return SentencePieceTokenizer(test::small_model(), config);
  }();
  return tokenizer;
}

TEST(PromptEncoding, DocumentsOpenAsTheModelsFilesOrTheTemplateSay) {
  struct Case {
    BosRule rule;
    bool files_say, opens;
  };
  for (const auto& [rule, files_say, opens] : {Case{BosRule::kAuto, true, true},
                                               {BosRule::kAuto, false, false},
                                               {BosRule::kTrue, true, true},
                                               {BosRule::kTrue, false, true},
                                               {BosRule::kFalse, true, false},
                                               {BosRule::kFalse, false, false}}) {
    const Tokenizer& tokenizer = files_say ? opening_tokenizer() : small_tokenizer();
    std::vector<TokenId> expected = tokenizer.encode("the fox");
    if (opens) expected.insert(expected.begin(), *tokenizer.bos());
    EXPECT_EQ(ids_with(tokenizer, {.bos = rule}, "the fox"), expected);
    // What is bound to a tokenizer is stored as what it means there.
    const PromptTemplate bound = PromptTemplate(PromptConfig{.bos = rule}).bound_to(tokenizer);
    EXPECT_EQ(bound.config().bos, opens ? BosRule::kTrue : BosRule::kFalse);
    // Training sees the same document, BOS untrained.
    MaskedTokens full = encode_training(
        tokenizer, bound, bound.render(Fields{{"prompt", "the fox"}, {"completion", "jumps"}}));
    EXPECT_TRUE(starts_with(full.tokens, expected));
    EXPECT_EQ(full.trained[0], 0);
  }
}

TEST(PromptEncoding, ADocumentHasOneBos) {
  const Tokenizer& tokenizer = opening_tokenizer();
  const std::vector<TokenId> once = ids_with(tokenizer, {}, "the fox");
  // Written by the template, or spelled by a text that was made for another program.
  EXPECT_EQ(ids_with(tokenizer, {.prompt = "<s>{prompt}", .specials = {"<s>"}}, "the fox"), once);
  EXPECT_EQ(ids_with(tokenizer, {}, "<s>the fox"), once);
  EXPECT_EQ(ids_with(tokenizer, {.bos = BosRule::kTrue}, "<s>the fox"), once);
  // Anywhere else, and where no document opens with BOS, it is text.
  const auto count = [&](const std::vector<TokenId>& ids) {
    return std::ranges::count(ids, *tokenizer.bos());
  };
  for (const char* text : {"the <s>fox", " <s>the fox", "<s><s>the fox"}) {
    const std::vector<TokenId> ids = ids_with(tokenizer, {}, text);
    EXPECT_EQ(count(ids), 1) << text;
    EXPECT_NE(tokenizer.decode(ids).find("<s>"), std::string::npos) << text;
  }
  const std::vector<TokenId> ids = ids_with(tokenizer, {.bos = BosRule::kFalse}, "<s>the fox");
  EXPECT_EQ(count(ids), 0);
  EXPECT_EQ(tokenizer.decode(ids), "<s>the fox");
}

TEST(PromptEncoding, AChatTemplateWritesItsOwnBos) {
  const Tokenizer& tokenizer = opening_tokenizer();
  const auto ids = [&](const char* source, BosRule rule = BosRule::kAuto) {
    const PromptTemplate prompt =
        PromptTemplate(PromptConfig{.bos = rule, .chat_template = source}).bound_to(tokenizer);
    return encode_prompt(tokenizer, prompt, prompt.render_prompt("the fox"));
  };
  std::vector<TokenId> bare = tokenizer.encode("the fox");
  EXPECT_EQ(ids("{{ messages[0].content }}"), bare);
  bare.insert(bare.begin(), *tokenizer.bos());
  EXPECT_EQ(ids("{{ bos_token + messages[0].content }}"), bare);
  EXPECT_EQ(ids("{{ bos_token + messages[0].content }}", BosRule::kTrue), bare);
  EXPECT_EQ(ids("{{ messages[0].content }}", BosRule::kTrue), bare);
}

TEST(PromptEncoding, Faults) {
  const auto& tokenizer = small_tokenizer();
  PromptTemplate unknown(PromptConfig{.prompt = "<|nobody|>{prompt}", .specials = {"<|nobody|>"}});
  Fields record{{"prompt", "p"}, {"completion", "c"}};
  std::string message =
      error_of([&] { encode_training(tokenizer, unknown, unknown.render(record)); });
  EXPECT_NE(message.find("'<|nobody|>' is not in the vocabulary"), std::string::npos) << message;
  PromptTemplate plain(PromptConfig{.prompt = "▁the{prompt}", .specials = {"▁the"}});
  message = error_of([&] { encode_training(tokenizer, plain, plain.render(record)); });
  EXPECT_NE(message.find("is not a special token"), std::string::npos) << message;

  HfTokenizerConfig none;
  none.bos.mentioned = none.eos.mentioned = true;
  SentencePieceTokenizer bare(test::small_model(), none);
  PromptTemplate simple{PromptConfig{}}, with_bos(PromptConfig{.bos = BosRule::kTrue});
  message = error_of([&] { encode_training(bare, simple, simple.render(record)); });
  EXPECT_NE(message.find("no end-of-sequence token"), std::string::npos) << message;
  message = error_of([&] { encode_prompt(bare, with_bos, with_bos.render_prompt(record)); });
  EXPECT_NE(message.find("no beginning-of-sequence token"), std::string::npos) << message;
  EXPECT_FALSE(encode_prompt(bare, simple, simple.render_prompt(record)).empty());
}

}  // namespace
}  // namespace continuo
