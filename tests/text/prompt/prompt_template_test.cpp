#include "text/prompt/prompt_template.h"

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using test::TempDir;
using Segments = std::vector<Segment>;

PromptTemplate chat() {
  PromptConfig config;
  config.prompt = "<|user|>{q}\n<|bot|>";
  config.completion = "{a}";
  config.system = "{content}\n";
  config.user = "<|user|>{content}\n";
  config.assistant = "<|bot|>{content}";
  config.specials = {"<|user|>", "<|bot|>"};
  return PromptTemplate(config);
}

TEST(PromptTemplate, Records) {
  PromptTemplate prompt(PromptConfig{.prompt = "Q: {q} ({n})\nA:", .completion = " {a}"});
  Fields record{{"q", "why"}, {"n", "2"}, {"a", "because"}, {"unused", "x"}};
  EXPECT_EQ(prompt.render(record), (Segments{{"Q: why (2)\nA:", false}, {" because", true}}));
  EXPECT_EQ(prompt.render_prompt(record), (Segments{{"Q: why (2)\nA:", false}}));
  EXPECT_EQ(prompt.prompt_fields(), (std::vector<std::string>{"q", "n"}));
  EXPECT_EQ(prompt.completion_fields(), std::vector<std::string>{"a"});
}

TEST(PromptTemplate, SpecialsComeFromTheFormatNeverFromAValue) {
  Segments expected{{"<|user|>", false, true},
                    {"<|bot|> {x} </s>\n", false},
                    {"<|bot|>", false, true},
                    {"<|user|>", true}};
  EXPECT_EQ(chat().render(Fields{{"q", "<|bot|> {x} </s>"}, {"a", "<|user|>"}}), expected);
}

TEST(PromptTemplate, PlainText) {
  PromptTemplate plain(PromptConfig{.prompt = "", .completion = "{text}"});
  EXPECT_EQ(plain.render(Fields{{"text", "all of it"}}), (Segments{{"all of it", true}}));
  EXPECT_EQ(plain.render_prompt(Fields{{"text", "all of it"}}), Segments{});
  EXPECT_EQ(plain.render_prompt("begin"), (Segments{{"begin", false}}));
  EXPECT_EQ(plain.render_prompt(""), Segments{});
  EXPECT_TRUE(plain.prompt_fields().empty());
}

TEST(PromptTemplate, TypedText) {
  EXPECT_EQ(chat().render_prompt("hi"), chat().render_prompt(Fields{{"q", "hi"}}));
  PromptTemplate headed(PromptConfig{.prompt = "Story: ", .completion = "once {t}"});
  EXPECT_EQ(headed.render_prompt("upon"), (Segments{{"Story: once upon", false}}));
  PromptTemplate two(PromptConfig{.prompt = "{a}{b}", .completion = "{c}"});
  EXPECT_NE(error_of([&] { two.render_prompt("x"); }).find("2 fields (a, b)"), std::string::npos);
}

TEST(PromptTemplate, EmptyPromptAndEmptyCompletionKeepTheirRuns) {
  PromptTemplate prompt{PromptConfig{}};
  EXPECT_EQ(prompt.render(Fields{{"prompt", ""}, {"completion", "c"}}), (Segments{{"c", true}}));
  EXPECT_EQ(prompt.render(Fields{{"prompt", "p"}, {"completion", ""}}),
            (Segments{{"p", false}, {"", true}}));
}

TEST(PromptTemplate, Conversations) {
  std::vector<Turn> turns{{"system", "be kind"},
                          {"user", "hi"},
                          {"assistant", "hello"},
                          {"user", "bye"},
                          {"assistant", "ciao"}};
  Segments expected{{"be kind\n", false},     {"<|user|>", false, true}, {"hi\n", false},
                    {"<|bot|>", false, true}, {"hello", true},           {"<|user|>", false, true},
                    {"bye\n", false},         {"<|bot|>", false, true},  {"ciao", true}};
  EXPECT_EQ(chat().render(turns), expected);
  expected.pop_back();
  EXPECT_EQ(chat().render_prompt(turns), expected) << "the last answer is asked for again";
  turns.pop_back();
  EXPECT_EQ(chat().render_prompt(turns), expected);
  EXPECT_EQ(chat().render_prompt(std::vector<Turn>{}), (Segments{{"<|bot|>", false, true}}));
}

TEST(PromptTemplate, AnswersInARowStayRunsOfTheirOwn) {
  PromptTemplate prompt{PromptConfig{}};
  std::vector<Turn> turns{{"assistant", "a"}, {"assistant", "b"}};
  EXPECT_EQ(prompt.render(turns), (Segments{{"", false}, {"a", true}, {"", false}, {"b", true}}));
}

TEST(PromptTemplate, WhatFollowsTheContentOfAnAnswerIsTrained) {
  PromptConfig config;
  config.assistant = "Bot: {content}\n";
  EXPECT_EQ(PromptTemplate(config).render(std::vector<Turn>{{"user", "u"}, {"assistant", "a"}}),
            (Segments{{"u\nBot: ", false}, {"a\n", true}}));
}

TEST(PromptTemplate, Faults) {
  auto fault = [](PromptConfig config) { return error_of([&] { PromptTemplate prompt(config); }); };
  EXPECT_NE(fault({.prompt = "{a"}).find("prompt: '{' is not closed"), std::string::npos);
  EXPECT_NE(fault({.completion = "fixed"}).find("completion: names no field"), std::string::npos);
  EXPECT_NE(fault({.user = "{text}"}).find("user: must hold {content} once"), std::string::npos);
  EXPECT_NE(fault({.assistant = "<|bot|>{content}"}).find("not in `specials`"), std::string::npos);
  EXPECT_NE(fault({.specials = {""}}).find("specials: one is empty"), std::string::npos);
  std::string message = error_of(
      [] { PromptTemplate{PromptConfig{}}.render(Fields{{"prompt", "x"}, {"answer", "y"}}); });
  EXPECT_NE(message.find("field 'completion' is missing"), std::string::npos) << message;
  EXPECT_NE(message.find("answer, prompt"), std::string::npos) << message;
  message =
      error_of([] { PromptTemplate{PromptConfig{}}.render(std::vector<Turn>{{"tool", "x"}}); });
  EXPECT_NE(message.find("unknown role 'tool'"), std::string::npos) << message;
}

TEST(PromptTemplate, TravelsAsAFile) {
  TempDir directory;
  PromptConfig config = chat().config();
  config.prompt += "\t\"quotes\": # {{no}} field \\ é\n";
  config.bos = BosRule::kTrue;
  PromptTemplate prompt(config);
  prompt.save(directory / "prompt.yaml");
  PromptTemplate again = PromptTemplate::load(directory / "prompt.yaml");
  EXPECT_EQ(again.hash(), prompt.hash());
  EXPECT_EQ(again.config().prompt, config.prompt);
  EXPECT_EQ(again.config().specials, config.specials);
  EXPECT_EQ(again.config().bos, BosRule::kTrue);
  EXPECT_NE(prompt.hash(), chat().hash());
  directory.write("bad.yaml", "promt: x\n");
  std::string message = error_of([&] { PromptTemplate::load(directory / "bad.yaml"); });
  EXPECT_NE(message.find("bad.yaml:1"), std::string::npos) << message;
}

// An older release knew true and false alone, and hashed what it wrote.
TEST(PromptTemplate, SpellsBosAsItAlwaysDid) {
  test::TempDir directory;
  const auto written = [&](BosRule rule) {
    PromptTemplate(PromptConfig{.bos = rule}).save(directory.path() / "prompt.yaml");
    return test::read_file(directory.path() / "prompt.yaml");
  };
  EXPECT_NE(written(BosRule::kTrue).find("bos: true\n"), std::string::npos);
  EXPECT_NE(written(BosRule::kFalse).find("bos: false\n"), std::string::npos);
  EXPECT_NE(written(BosRule::kAuto).find("bos: auto\n"), std::string::npos);
  EXPECT_EQ(PromptTemplate(PromptConfig{.bos = BosRule::kFalse}).hash(),
            "85e4f0466cd3494b8a86d63479540b5b");
  for (const char* spelling : {"true", "True", "TRUE"}) {
    directory.write("prompt.yaml", std::string("bos: ") + spelling);
    EXPECT_EQ(PromptTemplate::load(directory.path() / "prompt.yaml").config().bos, BosRule::kTrue);
  }
  directory.write("prompt.yaml", "bos: maybe");
  const std::string message =
      test::error_of([&] { PromptTemplate::load(directory.path() / "prompt.yaml"); });
  EXPECT_NE(message.find("one of auto, true, false"), std::string::npos) << message;
}

}  // namespace
}  // namespace continuo
