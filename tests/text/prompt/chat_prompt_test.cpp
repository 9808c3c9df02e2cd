// PromptTemplate with a chat template: records, conversations and typed text through it, to ids.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "core/files.h"
#include "text/prompt/chat_presets.h"
#include "text/prompt/prompt_template.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using test::small_tokenizer;
using test::TempDir;

// The small tokenizers have the specials <|user|> and <|bot|>.
constexpr const char* kSmallChat =
    "{% for m in messages %}{{ '<|user|>' if m.role != 'assistant' else '<|bot|>' }}"
    "{{ m.content + eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|bot|>' }}{% endif %}";

PromptTemplate small_chat() {
  return PromptTemplate(PromptConfig{.chat_template = kSmallChat}).bound_to(small_tokenizer());
}

TEST(ChatPrompt, BindingFindsSpecialsAndVariables) {
  const PromptTemplate prompt = small_chat();
  EXPECT_TRUE(prompt.is_chat());
  EXPECT_EQ(prompt.config().chat_variables.at("eos_token"), "</s>");
  for (const char* piece : {"<|user|>", "<|bot|>", "</s>"}) {
    EXPECT_NE(std::ranges::find(prompt.config().specials, piece), prompt.config().specials.end());
  }
  EXPECT_EQ(prompt.end_of_turn(), "</s>");
  EXPECT_EQ(prompt.bound_to(small_tokenizer()).hash(), prompt.hash());
  TempDir directory;
  prompt.save(directory / "prompt.yaml");
  const PromptTemplate again = PromptTemplate::load(directory / "prompt.yaml");
  EXPECT_EQ(again.hash(), prompt.hash());
  EXPECT_EQ(again.config().chat_template, kSmallChat);
  EXPECT_EQ(again.render_prompt("x"), prompt.render_prompt("x"));
}

TEST(ChatPrompt, RecordsAreOneQuestionAndOneAnswer) {
  PromptConfig config = small_chat().config();
  config.prompt = "Q: {q}";
  config.completion = "{a}.";
  const PromptTemplate prompt = PromptTemplate(config).bound_to(small_tokenizer());
  const Fields record{{"q", "why"}, {"a", "so"}};
  const std::vector<Turn> turns{{"user", "Q: why"}, {"assistant", "so."}};
  EXPECT_EQ(prompt.render(record), prompt.render(turns));
  EXPECT_EQ(prompt.render_prompt(record), prompt.render_prompt(turns));
  EXPECT_EQ(prompt.render_prompt("why"), prompt.render_prompt(record));
}

TEST(ChatPrompt, AnswersEndOnceAndPromptsAreWhatGenerationSees) {
  std::mt19937 random(41);
  const PromptTemplate prompt = small_chat();
  const auto& tokenizer = small_tokenizer();
  const TokenId eos = *tokenizer.eos();
  for (int i = 0; i < 300; ++i) {
    std::vector<Turn> turns;
    const size_t answers = random() % 3 + 1;
    for (size_t n = 0; n < answers; ++n) {
      turns.push_back({"user", test::random_text(random)});
      turns.push_back({"assistant", test::random_text(random)});
    }
    const MaskedTokens full = encode_training(tokenizer, prompt, prompt.render(turns));
    const std::vector<TokenId> ids = encode_prompt(tokenizer, prompt, prompt.render_prompt(turns));
    ASSERT_LE(ids.size(), full.tokens.size());
    ASSERT_TRUE(std::equal(ids.begin(), ids.end(), full.tokens.begin()));
    int64_t ends = 0;
    for (size_t t = 0; t < full.tokens.size(); ++t) {
      ends += full.tokens[t] == eos && full.trained[t];
    }
    ASSERT_EQ(ends, std::ssize(turns) / 2) << "one trained end of turn per answer";
    ASSERT_EQ(std::ranges::count(full.tokens, eos), std::ssize(turns)) << "none of a text";
    // Trained to the last end of turn; the line end behind it is not.
    size_t last = full.trained.size();
    while (!full.trained[last - 1]) --last;
    ASSERT_EQ(full.tokens[last - 1], eos);
    for (size_t t = ids.size(); t < last; ++t) ASSERT_TRUE(full.trained[t]);
  }
}

PromptTemplate endless_chat() {
  return PromptTemplate(
             PromptConfig{.chat_template =
                              "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                              "{% if add_generation_prompt %}assistant: {% endif %}"})
      .bound_to(small_tokenizer());
}

TEST(ChatPrompt, WithoutAnEndOfTurnTheSequenceEnds) {
  const PromptTemplate prompt = endless_chat();
  EXPECT_FALSE(prompt.end_of_turn());
  const auto segments = prompt.render(std::vector<Turn>{{"user", "the"}, {"assistant", "fox"}});
  const MaskedTokens full = encode_training(small_tokenizer(), prompt, segments);
  const auto last = std::ranges::find(full.tokens, *small_tokenizer().eos()) - full.tokens.begin();
  EXPECT_TRUE(full.trained[static_cast<size_t>(last)]);
}

// Earlier answers stand as the template writes them, in training and in the history of generation.
TEST(ChatPrompt, OnlyTheLastAnswerEndsTheSequence) {
  const PromptTemplate prompt = endless_chat();
  const auto& tokenizer = small_tokenizer();
  const std::vector<Turn> turns{
      {"user", "the"}, {"assistant", "fox"}, {"user", "cat"}, {"assistant", "dog"}};
  const MaskedTokens full = encode_training(tokenizer, prompt, prompt.render(turns));
  ASSERT_EQ(std::ranges::count(full.tokens, *tokenizer.eos()), 1);
  const auto end = std::ranges::find(full.tokens, *tokenizer.eos()) - full.tokens.begin();
  EXPECT_TRUE(full.trained[static_cast<size_t>(end)]);
  EXPECT_EQ(tokenizer.decode(std::span(full.tokens).first(static_cast<size_t>(end))),
            "user: the\nassistant: fox\nuser: cat\nassistant: dog");
  EXPECT_EQ(std::ranges::count(full.trained, 1), [&] {
    return std::ssize(tokenizer.encode_continuation("fox")) +
           std::ssize(tokenizer.encode_continuation("dog")) + 1;
  }());

  const std::vector<TokenId> ids = encode_prompt(tokenizer, prompt, prompt.render_prompt(turns));
  EXPECT_EQ(tokenizer.decode(ids, /*special=*/true),
            "user: the\nassistant: fox\nuser: cat\nassistant: ");
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), full.tokens.begin()));
}

TEST(ChatPrompt, PresetsAreSound) {
  for (const ChatPreset& preset : chat_presets()) {
    SCOPED_TRACE(preset.name);
    std::vector<std::string> specials{"<s>", "</s>"};
    for (size_t at = 0; at < preset.specials.size();) {
      const size_t end = std::min(preset.specials.find(' ', at), preset.specials.size());
      specials.emplace_back(preset.specials.substr(at, end - at));
      at = end + 1;
    }
    const PromptTemplate prompt(
        PromptConfig{.specials = specials,
                     .chat_template = std::string(preset.source),
                     .chat_variables = {{"bos_token", "<s>"}, {"eos_token", "</s>"}}});
    EXPECT_TRUE(prompt.end_of_turn());
    const std::vector<Turn> turns{
        {"system", "s"}, {"user", "u"}, {"assistant", "a"}, {"user", "v"}, {"assistant", "b"}};
    std::vector<Segment> training = prompt.render(turns);
    while (!training.back().trained) training.pop_back();
    EXPECT_TRUE(training.back().special) << "ends with the end of turn";
    while (training.back().trained) training.pop_back();
    EXPECT_EQ(training, prompt.render_prompt(turns));
    std::string text;
    for (const Segment& segment : training) text += segment.text;
    for (const char* part : {"s", "u", "a", "v"}) EXPECT_NE(text.find(part), std::string::npos);
  }
}

TEST(ChatPrompt, KeysThatAreNotUsedChangeNothing) {
  // Hashes and files of templates without a chat stay as they were.
  EXPECT_EQ(PromptTemplate(PromptConfig{.prompt = "{prompt}\n", .bos = BosRule::kFalse}).hash(),
            "72fdf89d1ebaffc06675f3bb0264bbbb");
  TempDir directory;
  PromptTemplate(PromptConfig{}).save(directory / "prompt.yaml");
  EXPECT_EQ(read_file(directory / "prompt.yaml").find("chat"), std::string::npos);
  const PromptTemplate plain(PromptConfig{.chat = "plain"});
  EXPECT_FALSE(plain.is_chat());
  EXPECT_EQ(plain.bound_to(small_tokenizer()).render_prompt("x"),
            PromptTemplate(PromptConfig{}).render_prompt("x"));
}

TEST(ChatPrompt, Faults) {
  const auto fault = [](PromptConfig config) {
    return error_of([&] { PromptTemplate(std::move(config)).bound_to(small_tokenizer()); });
  };
  EXPECT_NE(fault({.chat = "chatlm"}).find("did you mean chatml"), std::string::npos);
  EXPECT_NE(fault({.chat = "chatml"}).find("needs the special token '<|im_start|>'"),
            std::string::npos);
  EXPECT_NE(fault({.chat = "base"}).find("there is none"), std::string::npos);
  EXPECT_NE(fault({.chat = "chatml", .chat_template = "x"}).find("both given"), std::string::npos);
  EXPECT_NE(fault({.chat_template = "a\n{% if %}"}).find("chat_template:2:"), std::string::npos);
  EXPECT_NE(fault({.default_system = "x"}).find("belong to a chat template"), std::string::npos);
  EXPECT_NE(fault({.prompt = "", .completion = "{text}", .chat = "zephyr"})
                .find("prompt: names no field"),
            std::string::npos);
  EXPECT_NE(fault({.specials = {"<|nobody|>"}, .chat_template = "x"})
                .find("'<|nobody|>', which is not in the vocabulary"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
