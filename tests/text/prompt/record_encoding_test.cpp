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

Conversation talk(std::vector<Turn> turns) { return {std::move(turns), {}}; }

const Turn kCall = {"assistant", "",
                    R"({"role": "assistant", "content": "", "tool_calls": [{"function": )"
                    R"({"name": "f", "arguments": {}}}]})",
                    true};

bool revised(const PromptTemplate& prompt, const Conversation& conversation) {
  const auto encoded = encode_record(test::ByteTokenizer(), prompt, conversation);
  return std::get<EncodedRecord>(encoded).revised;
}

TEST(RecordEncoding, IsWhatTrainingEncodesOfTheRenderedRecord) {
  const test::ByteTokenizer tokenizer;
  const PromptTemplate prompt = record_prompt();
  const Record records[] = {Fields{{"q", "ask"}, {"a", "yes"}},
                            talk({{"user", "u"}, {"assistant", "a"}}), Document{"all of it"}};
  for (const Record& record : records) {
    const MaskedTokens expected =
        encode_training(tokenizer, prompt, render_record(prompt, record));
    const auto encoded = encode_record(tokenizer, prompt, record);
    const MaskedTokens& tokens = std::get<EncodedRecord>(encoded).tokens;
    EXPECT_EQ(tokens.tokens, expected.tokens);
    EXPECT_EQ(tokens.trained, expected.trained);
    EXPECT_FALSE(tokens.tokens.empty());
  }
  EXPECT_EQ(render_record(prompt, Document{"x"}),
            (std::vector<Segment>{{"x", /*trained=*/true, /*special=*/false}}));
}

TEST(RecordEncoding, WhatIsNotWantedIsNotTokenized) {
  std::vector<Segment> seen;
  const auto encoded = encode_record(test::ByteTokenizer(), record_prompt(),
                                     Fields{{"q", "ask"}, {"a", "yes"}},
                                     [&](std::span<const Segment> segments) {
                                       seen.assign(segments.begin(), segments.end());
                                       return false;
                                     });
  EXPECT_TRUE(std::get<EncodedRecord>(encoded).unwanted);
  EXPECT_TRUE(std::get<EncodedRecord>(encoded).tokens.tokens.empty());
  EXPECT_EQ(seen, (std::vector<Segment>{{"ask>", false, false}, {"yes", true, false}}));
}

TEST(RecordEncoding, ATemplateThatLeavesOutACallRefusesTheRecord) {
  const Conversation conversation = talk({{"user", "u"}, kCall, {"assistant", "done"}});
  const auto written = encode_record(test::ByteTokenizer(), chat(kCallingChat), conversation);
  EXPECT_TRUE(std::holds_alternative<EncodedRecord>(written));
  const auto encoded = encode_record(test::ByteTokenizer(), chat(kEndlessChat), conversation);
  ASSERT_TRUE(std::holds_alternative<RefusedRecord>(encoded));
  const std::string& message = std::get<RefusedRecord>(encoded).message;
  EXPECT_NE(message.find("leaves out the call of 'f' in turn 2"), std::string::npos) << message;
}

// Runs of earlier releases go on only where their rows mean what they meant.
TEST(RecordEncoding, RecordsThatMeanSomethingElseNowAreKnown) {
  const Conversation two =
      talk({{"user", "u"}, {"assistant", "a"}, {"user", "v"}, {"assistant", "b"}});
  EXPECT_FALSE(revised(chat(kCallingChat), two));
  EXPECT_TRUE(revised(chat(kEndlessChat), two));
  EXPECT_FALSE(revised(record_prompt(), two));
  const Turn weighted = {"assistant", "a",
                         R"({"role": "assistant", "content": "a", "weight": 1})"};
  EXPECT_FALSE(revised(chat(kEndlessChat), talk({{"user", "u"}, weighted})))
      << "no template reads it";
  EXPECT_TRUE(revised(chat(kCallingChat), talk({{"user", "u"}, kCall, {"assistant", "done"}})));
}

}  // namespace
}  // namespace continuo
