#include "generate/sequence.h"

#include <cmath>

#include <gtest/gtest.h>

#include "generate/sampling/candidates.h"

namespace continuo {
namespace {

// Token i is the letter 'a' + i; token 0 ends a sequence.
Vocabulary letters() {
  Vocabulary v;
  v.size = 6;
  v.eos = {0};
  v.token_bytes = [](TokenId id) {
    return id == 0 ? "" : std::string(1, static_cast<char>('a' + id));
  };
  v.special_text = [](TokenId id) { return id == 0 ? "</s>" : ""; };
  v.encode = [](std::string_view) { return std::vector<TokenId>(); };
  return v;
}

struct Case {
  int64_t max_new_tokens = 8, context = 100;
  bool ignore_eos = false;
  std::vector<std::string> stops;

  Sequence make() const {
    auto rules = std::make_shared<SequenceRules>();
    rules->vocabulary = std::make_shared<const Vocabulary>(letters());
    rules->max_new_tokens = max_new_tokens;
    rules->context = context;
    rules->ignore_eos = ignore_eos;
    rules->stops = std::make_shared<const StopStrings>(stops);
    return Sequence(rules, std::vector<TokenId>{1, 2}, Noise(1, 0, 0));
  }
  // Feeds the given tokens, each certain, until the sequence ends.
  Sequence run(const std::vector<TokenId>& tokens, std::string* streamed = nullptr) const {
    Sequence sequence = make();
    Candidates scratch;
    for (const TokenId token : tokens) {
      if (sequence.finished()) break;
      std::vector<float> logits(7, -INFINITY);
      logits[static_cast<size_t>(token)] = 1;
      sequence.sample(whole_row(logits), scratch);
      const std::string bytes = sequence.accept();
      if (streamed) *streamed += bytes;
    }
    return sequence;
  }
};

TEST(Sequence, CollectsTokensBytesAndLength) {
  Case c;
  std::string streamed;
  Sequence s = c.run({1, 2, 3}, &streamed);
  EXPECT_FALSE(s.finished());
  EXPECT_EQ(s.length(), 5);
  EXPECT_EQ(s.last_token(), 3);
  EXPECT_EQ(s.completion().text_bytes, "bcd");
  EXPECT_EQ(streamed, "bcd");
  EXPECT_NEAR(s.completion().tokens[0].logprob, 0, 1e-9);
}

TEST(Sequence, SaysHowManyTokensMayFollow) {
  Case c;
  EXPECT_EQ(c.run({1, 2, 3}).remaining(), 5);  // of 8 new ones
  c.context = 6;
  EXPECT_EQ(c.run({1, 2, 3}).remaining(), 1);  // after a prompt of 2
  EXPECT_EQ(c.run({1, 2, 3}).history().size(), 5u);
}

TEST(Sequence, EndsAtEndOfSequenceWhichIsNoText) {
  Case c;
  Sequence s = c.run({1, 0, 2});
  EXPECT_TRUE(s.finished());
  EXPECT_EQ(s.completion().reason, FinishReason::kEos);
  EXPECT_EQ(s.completion().stop_token, 0);
  EXPECT_EQ(s.completion().text_bytes, "b");
}

TEST(Sequence, GoesOnPastEndOfSequenceWhenToldTo) {
  Case c;
  c.ignore_eos = true;
  EXPECT_EQ(c.run({1, 0, 2}).completion().text_bytes, "bc");
}

TEST(Sequence, StopStringsAreCutAndHeldBackUntilTheyAreDecided) {
  Case c;
  c.stops = {"cd"};
  std::string streamed;
  Sequence s = c.run({1, 2, 2, 3, 4}, &streamed);
  EXPECT_EQ(s.completion().reason, FinishReason::kStop);
  EXPECT_EQ(s.completion().text_bytes, "bc");
  EXPECT_EQ(streamed, "bc");
  EXPECT_EQ(s.completion().stop_string, "cd");
  EXPECT_EQ(s.completion().stop_offset, 2);
}

TEST(Sequence, LengthAndContextAreReasonsOfTheirOwn) {
  Case c;
  c.max_new_tokens = 2;
  EXPECT_EQ(c.run({1, 2, 3}).completion().reason, FinishReason::kLength);
  Case d;
  d.context = 4;
  Sequence s = d.run({1, 2, 3});
  EXPECT_TRUE(s.finished());
  EXPECT_EQ(s.completion().reason, FinishReason::kContext);
}

TEST(Sequence, FinishingFromOutsideReleasesWhatWasHeldBack) {
  Case c;
  c.stops = {"bcd"};
  std::string streamed;
  Sequence s = c.run({1, 2}, &streamed);
  EXPECT_EQ(streamed, "");
  EXPECT_EQ(s.finish(FinishReason::kInterrupted), "bc");
  EXPECT_EQ(s.completion().reason, FinishReason::kInterrupted);
}

TEST(Sequence, RowsWithoutATokenEndItAndNameTheirPlace) {
  Case c;
  c.stops = {"bcd"};
  Sequence s = c.run({1, 2});
  Candidates scratch;
  const std::vector<float> faulty(7, NAN);
  s.sample(whole_row(faulty), scratch);
  EXPECT_EQ(s.accept(), "bc") << "what was held back is no longer";
  EXPECT_TRUE(s.finished());
  EXPECT_EQ(s.completion().reason, FinishReason::kError);
  EXPECT_EQ(s.completion().tokens.size(), 2u);
  for (const char* part : {"prompt 0", "position 4", "NaN"})
    EXPECT_NE(s.completion().error.find(part), std::string::npos) << s.completion().error;
}

}  // namespace
}  // namespace continuo
