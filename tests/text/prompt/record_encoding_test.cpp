// One call from a record to its tokens: what it renders, what it leaves out, what it refuses.
#include "text/prompt/record_encoding.h"

#include <gtest/gtest.h>

#include "support/byte_tokenizer.h"

namespace continuo {
namespace {

constexpr const char* kCallingChat =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}"
    "@{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "{{ eos_token if m.role != 'user' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";
constexpr const char* kEndlessChat =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

PromptTemplate chat(const char* source) {
  return PromptTemplate(PromptConfig{.chat_template = source}).bound_to(test::ByteTokenizer());
}

PromptTemplate record_prompt() {
  return PromptTemplate(PromptConfig{.prompt = "{q}>", .completion = "{a}"});
}

continuo::Conversation talk(std::vector<Turn> turns) { return {std::move(turns), {}}; }

const Turn kCall = {"assistant", "",
                    R"({"role": "assistant", "content": "", "tool_calls": [{"function": )"
                    R"({"name": "f", "arguments": {}}}]})",
                    true};

bool revised(const PromptTemplate& prompt, const continuo::Conversation& conversation) {
  const auto encoded = encode_record(test::ByteTokenizer(), prompt, {conversation});
  return std::get<EncodedRecord>(encoded).revised;
}

TEST(RecordEncoding, IsWhatTrainingEncodesOfTheRenderedRecord) {
  const test::ByteTokenizer tokenizer;
  const PromptTemplate prompt = record_prompt();
  const Record records[] = {{Fields{{"q", "ask"}, {"a", "yes"}}},
                            {talk({{"user", "u"}, {"assistant", "a"}})},
                            {Document{"all of it"}}};
  for (const Record& record : records) {
    const MaskedTokens expected = encode_training(tokenizer, prompt, render_record(prompt, record));
    const auto encoded = encode_record(tokenizer, prompt, record);
    const MaskedTokens& tokens = std::get<EncodedRecord>(encoded).tokens;
    EXPECT_EQ(tokens.tokens, expected.tokens);
    EXPECT_EQ(tokens.trained, expected.trained);
    EXPECT_FALSE(tokens.tokens.empty());
  }
  EXPECT_EQ(render_record(prompt, {Document{"x"}}),
            (std::vector<Segment>{{"x", /*trained=*/true, /*special=*/false}}));
}

TEST(RecordEncoding, WhatIsNotWantedIsNotTokenized) {
  std::vector<Segment> seen;
  const auto encoded =
      encode_record(test::ByteTokenizer(), record_prompt(), {Fields{{"q", "ask"}, {"a", "yes"}}},
                    [&](std::span<const Segment> segments) {
                      seen.assign(segments.begin(), segments.end());
                      return false;
                    });
  EXPECT_TRUE(std::get<EncodedRecord>(encoded).unwanted);
  EXPECT_TRUE(std::get<EncodedRecord>(encoded).tokens.tokens.empty());
  EXPECT_EQ(seen, (std::vector<Segment>{{"ask>", false, false}, {"yes", true, false}}));
}

TEST(RecordEncoding, ATemplateThatLeavesOutACallRefusesTheRecord) {
  const continuo::Conversation conversation = talk({{"user", "u"}, kCall, {"assistant", "done"}});
  const auto written = encode_record(test::ByteTokenizer(), chat(kCallingChat), {conversation});
  EXPECT_TRUE(std::holds_alternative<EncodedRecord>(written));
  const auto encoded = encode_record(test::ByteTokenizer(), chat(kEndlessChat), {conversation});
  ASSERT_TRUE(std::holds_alternative<RefusedRecord>(encoded));
  const std::string& message = std::get<RefusedRecord>(encoded).message;
  EXPECT_NE(message.find("leaves out the call of 'f' in turn 2"), std::string::npos) << message;
}

// Runs of earlier releases go on only where their rows mean what they meant.
TEST(RecordEncoding, RecordsThatMeanSomethingElseNowAreKnown) {
  const continuo::Conversation two =
      talk({{"user", "u"}, {"assistant", "a"}, {"user", "v"}, {"assistant", "b"}});
  EXPECT_FALSE(revised(chat(kCallingChat), two));
  EXPECT_TRUE(revised(chat(kEndlessChat), two));
  EXPECT_FALSE(revised(record_prompt(), two));
  const Turn weighted = {"assistant", "a", R"({"role": "assistant", "content": "a", "weight": 1})"};
  EXPECT_FALSE(revised(chat(kEndlessChat), talk({{"user", "u"}, weighted})))
      << "no template reads it";
  EXPECT_TRUE(revised(chat(kCallingChat), talk({{"user", "u"}, kCall, {"assistant", "done"}})));
}

// The tokens with a weight of their own, as "token:weight".
std::string weights_of(const Record& record, const PromptTemplate& prompt) {
  const auto encoded = encode_record(test::ByteTokenizer(), prompt, record);
  const MaskedTokens& tokens = std::get<EncodedRecord>(encoded).tokens;
  std::string text;
  for (size_t i = 0; i < tokens.tokens.size(); ++i) {
    const TokenId id = tokens.tokens[i];
    const float weight = tokens.weights.empty() ? 1 : tokens.weights[i];
    if (tokens.trained[i]) text += id == 2 ? "$" : test::ByteTokenizer().token_bytes(id);
    if (tokens.trained[i] && weight != 1) text += fmt::format(":{} ", weight);
  }
  return text;
}

TEST(RecordEncoding, WeightsOfRowsAndTurnsMultiply) {
  const Fields fields = {{"q", "ask"}, {"a", "no"}};
  EXPECT_EQ(weights_of({fields}, record_prompt()), "no$");
  EXPECT_EQ(weights_of({fields, 0.5f}, record_prompt()), "n:0.5 o:0.5 $:0.5 ");
  EXPECT_EQ(weights_of({fields, 0}, record_prompt()), "") << "0 is not trained";
  continuo::Conversation two =
      talk({{"user", "u"}, {"assistant", "a"}, {"user", "v"}, {"assistant", "b"}});
  two.turns[1].weight = 2;
  EXPECT_EQ(weights_of({two}, record_prompt()), "a:2 $:2 b$");
  EXPECT_EQ(weights_of({two, 0.25f}, record_prompt()), "a:0.5 $:0.5 b:0.25 $:0.25 ");
  EXPECT_EQ(weights_of({two}, chat(kCallingChat)), "a:2 $:2 b$");
  two.turns[1].weight = 0;
  EXPECT_EQ(weights_of({two}, chat(kCallingChat)), "b$");
  two.turns[1].weight = 1;
  two.turns[3].weight = 0;
  EXPECT_EQ(weights_of({two}, chat(kEndlessChat)), "a")
      << "the last answer's end weighs as it does";
}

}  // namespace
}  // namespace continuo
