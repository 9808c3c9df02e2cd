#include "data/example_builder.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

// Segments from "prompt[trained]prompt…".
std::vector<Segment> segments_of(const std::string& text) {
  std::vector<Segment> segments;
  std::string run;
  const auto flush = [&](bool trained) {
    if (!run.empty() || trained) segments.push_back({run, trained, false});
    run.clear();
  };
  for (const char c : text) {
    if (c == '[' || c == ']') {
      flush(c == ']');
    } else {
      run += c;
    }
  }
  flush(false);
  return segments;
}

BuiltRow build(const std::string& text, int64_t context,
               OverlongRows overlong = OverlongRows::kDrop, bool bos = false,
               bool plain_text = false) {
  const test::ByteTokenizer tokenizer;
  const PromptTemplate prompt = test::record_template(bos);
  return ExampleBuilder(context, overlong, tokenizer.bos())
      .build(encode_training(tokenizer, prompt, segments_of(text)), plain_text);
}

std::vector<std::string> shown(const BuiltRow& row) {
  std::vector<std::string> texts;
  for (const MaskedTokens& example : row.examples)
    texts.push_back(test::show({example.tokens, example.trained}));
  return texts;
}

using Texts = std::vector<std::string>;

TEST(ExampleBuilder, CompletionAndEndOfSequenceAreTrained) {
  EXPECT_EQ(shown(build("ask>[yes]", 100)), Texts{"ask>[yes$]"});
  EXPECT_EQ(shown(build("ask>[yes]", 100, OverlongRows::kDrop, true)), Texts{"^ask>[yes$]"});
}

TEST(ExampleBuilder, NothingPredictsTheFirstToken) {
  EXPECT_EQ(shown(build("[yes]", 100)), Texts{"y[es$]"}) << "an empty prompt";
  EXPECT_EQ(shown(build("[yes]", 100, OverlongRows::kDrop, true)), Texts{"^[yes$]"});
}

TEST(ExampleBuilder, WhatFollowsTheLastTrainedTokenIsCut) {
  EXPECT_EQ(shown(build("u[a]v[b]w", 100)), Texts{"u[a$]v[b$]"});
}

TEST(ExampleBuilder, NothingTrained) {
  EXPECT_EQ(build("ask", 100).dropped, "nothing trained");
  EXPECT_EQ(build("[]", 100).dropped, "nothing trained")
      << "end of sequence alone has nothing before it";
}

TEST(ExampleBuilder, TheLimitIsContextPositions) {
  // ask>yes$ is 8 tokens, 7 positions.
  EXPECT_EQ(shown(build("ask>[yes]", 7)), Texts{"ask>[yes$]"});
  EXPECT_EQ(build("ask>[yes]", 6).dropped, "overlong");
  EXPECT_EQ(build("ask>[yes]", 6, OverlongRows::kFail).overlong,
            "the row has 8 tokens (prompt 4, completion 4), the context allows 7");
  EXPECT_EQ(build("ask>[yes]", 7, OverlongRows::kFail).overlong, "");
}

TEST(ExampleBuilder, TruncationKeepsTheCompletion) {
  const auto truncate = [](const std::string& text, int64_t context, bool bos = false) {
    return build(text, context, OverlongRows::kTruncatePromptLeft, bos);
  };
  EXPECT_EQ(shown(truncate("ask>[yes]", 6)), Texts{"sk>[yes$]"});
  EXPECT_TRUE(truncate("ask>[yes]", 6).truncated);
  EXPECT_FALSE(truncate("ask>[yes]", 7).truncated);
  EXPECT_EQ(shown(truncate("ask>[yes]", 4)), Texts{">[yes$]"})
      << "one token of the prompt must stay";
  EXPECT_EQ(truncate("ask>[yes]", 3).dropped, "overlong completion");
  EXPECT_EQ(shown(truncate("ask>[yes]", 6, true)), Texts{"^k>[yes$]"}) << "the opening id stays";
  EXPECT_EQ(shown(truncate("ask>[yes]", 4, true)), Texts{"^[yes$]"});
  EXPECT_EQ(truncate("ask>[yes]", 3, true).dropped, "overlong completion");
  EXPECT_EQ(truncate("[yes, no]", 5).dropped, "overlong completion") << "no prompt to cut";
  // Of a conversation only what precedes the first answer is cut.
  EXPECT_EQ(shown(truncate("abc[d]e[f]", 6)), Texts{"bc[d$]e[f$]"});
  EXPECT_EQ(truncate("abc[d]e[f]", 4).dropped, "overlong completion");
}

TEST(ExampleBuilder, PlainTextIsCutSoThatEveryTokenIsTrainedOnce) {
  for (const bool bos : {false, true}) {
    for (int64_t context = 1; context <= 12; ++context) {
      const std::string text = "abcdefghi";
      const BuiltRow row =
          build("[" + text + "]", context, OverlongRows::kFail, bos, /*plain_text=*/true);
      std::string targets;
      for (const MaskedTokens& piece : row.examples) {
        EXPECT_LE(static_cast<int64_t>(piece.tokens.size()) - 1, context);
        EXPECT_GE(piece.tokens.size(), 2U);
        for (size_t i = 1; i < piece.tokens.size(); ++i) {
          EXPECT_EQ(piece.trained[i], 1);
          targets += piece.tokens[i] == 2 ? '$' : static_cast<char>(piece.tokens[i] - 3);
        }
      }
      EXPECT_EQ(targets, (bos ? text : text.substr(1)) + "$") << "context " << context;
    }
  }
  EXPECT_EQ(shown(build("[abcde]", 2, OverlongRows::kDrop, false, true)),
            (Texts{"a[bc]", "c[de]", "e[$]"}));
}

TEST(ExampleBuilder, TrainingPrefixEqualsThePromptOfGeneration) {
  for (const bool dummy_prefix : {false, true}) {
    const test::ByteTokenizer tokenizer(dummy_prefix);
    const PromptTemplate prompt = test::record_template(true);
    const Fields fields = {{"q", "ask"}, {"a", "yes"}};
    const ExampleBuilder builder(100, OverlongRows::kDrop, tokenizer.bos());
    const MaskedTokens full = encode_training(tokenizer, prompt, prompt.render(fields));
    const MaskedTokens example = builder.build(full, false).examples.at(0);
    const std::vector<TokenId> ids = encode_prompt(tokenizer, prompt, prompt.render_prompt(fields));
    ASSERT_LT(ids.size(), example.tokens.size());
    EXPECT_TRUE(std::equal(ids.begin(), ids.end(), example.tokens.begin()));
    EXPECT_EQ(std::count(example.trained.begin(), example.trained.end(), 1),
              static_cast<int64_t>(example.tokens.size() - ids.size()));
    EXPECT_EQ(std::count(example.tokens.begin(), example.tokens.end(), 1), 1) << "one opening id";
    EXPECT_EQ(std::count(example.tokens.begin(), example.tokens.end(), 2), 1)
        << "one end of sequence";
    // The completion opens without a space of the tokenizer's own.
    EXPECT_EQ(example.tokens[ids.size()], 'y' + 3);
  }
}

TEST(ExampleBuilder, ContextOfNothing) {
  EXPECT_NE(test::error_of([] { build("a[b]", 0); }), "");
}

}  // namespace
}  // namespace continuo
