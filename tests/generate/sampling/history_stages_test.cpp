// Penalties, DRY and n-grams by hand.
#include "generate/sampling/stages/dry.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

using Ids = std::vector<TokenId>;

const Row kRow{{0, 1.}, {1, 2.}, {3, 4.}, {4, -3.}, {5, 0.}};

TEST(Repetition, RawFormDividesOrMultiplies) {
  expect_rows_near(apply_chain("[{repetition: {penalty: 2, form: raw}}]", kRow, {3, 4, 4, 5}),
                   {{0, 1.}, {1, 2.}, {3, 2.}, {4, -6.}, {5, 0.}}, 1e-12);
}

TEST(Repetition, LogprobFormMultipliesLogProbabilities) {
  const auto before = slow_softmax(kRow);
  const Row after = apply_chain("[{repetition: 1.5}]", kRow, {3, 3});
  EXPECT_EQ(after.at(4), kRow.at(4));
  // Relative to an untouched token the penalised one has log p multiplied by 1.5.
  const double gap = static_cast<double>(1.5L * std::log(before.at(3)) - std::log(before.at(4)));
  EXPECT_NEAR(after.at(3) - after.at(4), gap, 1e-12);
}

TEST(Repetition, BelowOneEncourages) {
  const Row after = apply_chain("[{repetition: 0.5}]", kRow, {4});
  EXPECT_GT(after.at(4), kRow.at(4));
}

TEST(Penalties, ScopeIsTheCompletionUnlessSaid) {
  const Ids history{5, 3, 4};  // prompt 5 3, completion 4
  auto lowered = [&](const std::string& yaml) {
    Ids ids;
    for (const auto& [id, l] : apply_chain(yaml, kRow, history, 2)) {
      if (l != kRow.at(id)) ids.push_back(id);
    }
    return ids;
  };
  for (const std::string stage : {"repetition", "frequency", "presence"}) {
    const auto with = [&](const std::string& rest) {
      return lowered(fmt::format("- {}: {{penalty: 1.5{}}}", stage, rest));
    };
    EXPECT_EQ(with(""), (Ids{4})) << stage;
    EXPECT_EQ(with(", scope: window, window: 2"), (Ids{3, 4})) << stage;
    EXPECT_EQ(with(", scope: window, window: 0"), Ids{}) << stage;
    EXPECT_EQ(with(", scope: all"), (Ids{3, 4, 5})) << stage;
  }
}

TEST(Penalties, SparesEndOfSequenceAndSpecialsUnlessTold) {
  const Ids history{0, 1, 3};
  for (const std::string stage : {"repetition", "frequency", "presence"}) {
    const Row spared = apply_chain(fmt::format("- {}: 1.5", stage), kRow, history);
    EXPECT_EQ(spared.at(0), kRow.at(0));
    EXPECT_EQ(spared.at(1), kRow.at(1));
    EXPECT_NE(spared.at(3), kRow.at(3));
    const Row hit = apply_chain(fmt::format("- {}: {{penalty: 1.5, exempt_special: false}}", stage),
                                kRow, history);
    EXPECT_NE(hit.at(0), kRow.at(0));
    EXPECT_NE(hit.at(1), kRow.at(1));
  }
}

TEST(Penalties, FrequencyCountsAndPresenceDoesNot) {
  const Ids history{3, 4, 3, 3};
  expect_rows_near(apply_chain("[{frequency: 0.5}]", kRow, history),
                   {{0, 1.}, {1, 2.}, {3, 2.5}, {4, -3.5}, {5, 0.}}, 1e-12);
  expect_rows_near(apply_chain("[{presence: 0.5}]", kRow, history),
                   {{0, 1.}, {1, 2.}, {3, 3.5}, {4, -3.5}, {5, 0.}}, 1e-12);
  expect_rows_near(apply_chain("[{presence: -0.5}]", kRow, history),
                   {{0, 1.}, {1, 2.}, {3, 4.5}, {4, -2.5}, {5, 0.}}, 1e-12);
}

TEST(Dry, CommonSuffixesEqualCountingByHand) {
  const Random random(3, "text");
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Ids text;
    for (uint64_t i = 0; i < 40; ++i)
      text.push_back(static_cast<TokenId>(random.below(3, seed, i)));
    const auto z = common_suffixes(text);
    for (size_t i = 1; i < text.size(); ++i) {
      size_t n = 0;
      while (i + n < text.size() && text[text.size() - 1 - n] == text[text.size() - 1 - i - n]) ++n;
      EXPECT_EQ(z[i], n);
    }
  }
}

TEST(Dry, PenalisesTheTokenThatExtendsARepeat) {
  // "d e f g … d e f": g would extend a match of 3. multiplier · base^(3 − 2).
  const Row after =
      apply_chain("[{dry: {multiplier: 0.8, base: 1.75}}]", letters(), {3, 4, 5, 6, 20, 3, 4, 5});
  for (const auto& [id, l] : after) EXPECT_NEAR(l, id == 6 ? -0.8 * 1.75 : 0, 1e-12) << id;
}

TEST(Dry, TakesTheLongestMatchOfEachToken) {
  // g followed "f" (match 1, free), "e f" (2) and "d e f" (3); h followed "e f".
  const Row after = apply_chain("[{dry: {multiplier: 1, base: 2}}]", letters(),
                                {5, 6, 21, 4, 5, 6, 22, 4, 5, 7, 3, 4, 5, 6, 23, 3, 4, 5});
  EXPECT_NEAR(after.at(6), -2, 1e-12);
  EXPECT_NEAR(after.at(7), -1, 1e-12);
}

TEST(Dry, ShortRepeatsAreFree) {
  EXPECT_EQ(apply_chain("[{dry: {allowed_length: 4}}]", letters(), {3, 4, 5, 6, 20, 3, 4, 5}),
            letters());
}

TEST(Dry, BreakersEndMatches) {
  // Token 10 is a newline. The run since it is 2 long, so the match counts 2, not 4.
  const Ids history{3, 10, 4, 5, 6, 20, 3, 10, 4, 5};
  EXPECT_NEAR(apply_chain("[{dry: {multiplier: 1, base: 2}}]", letters(), history).at(6), -1,
              1e-12);
  EXPECT_NEAR(
      apply_chain("[{dry: {multiplier: 1, base: 2, breakers: []}}]", letters(), history).at(6), -4,
      1e-12);
  // Right after a breaker there is no repeat to extend; and a breaker is never penalised itself.
  EXPECT_EQ(apply_chain("[dry]", letters(), {3, 4, 10, 6, 3, 4, 10}), letters());
  EXPECT_EQ(apply_chain("[dry]", letters(), {3, 4, 5, 10, 3, 4, 5}), letters());
}

TEST(Dry, PeriodicTextIsPenalisedInProportionToItsLength) {
  const Row short_loop = apply_chain("[dry]", letters(), {3, 4, 3, 4, 3, 4});
  const Row long_loop = apply_chain("[dry]", letters(), {3, 4, 3, 4, 3, 4, 3, 4, 3, 4});
  EXPECT_NEAR(short_loop.at(3), -0.8 * std::pow(1.75, 2), 1e-9);
  EXPECT_NEAR(long_loop.at(3), -0.8 * std::pow(1.75, 6), 1e-9);
  EXPECT_EQ(short_loop.at(4), 0);
}

TEST(Dry, StaysFiniteForEndlessRepeats) {
  const Row after = apply_chain("[dry]", letters(), Ids(5000, 7));
  EXPECT_TRUE(std::isfinite(after.at(7)));
  EXPECT_LT(after.at(7), -1e5);
}

TEST(NoRepeatNgram, BansTheTokenThatCompletesOne) {
  const Ids history{3, 4, 5, 7, 3, 4};
  const auto banned = [&](int n, const Ids& text, size_t prompt = 0, const std::string& rest = "") {
    const Row after = apply_chain(fmt::format("[{{no_repeat_ngram: {{n: {}{}}}}}]", n, rest),
                                  letters(), text, prompt);
    Ids ids;
    for (TokenId id = 0; id < 30; ++id) {
      if (!after.count(id)) ids.push_back(id);
    }
    return ids;
  };
  EXPECT_EQ(banned(3, history), (Ids{5}));
  EXPECT_EQ(banned(3, history, 6), (Ids{5}));  // the prompt counts
  EXPECT_EQ(banned(3, history, 6, ", scope: completion"), Ids{});
  EXPECT_EQ(banned(2, history), (Ids{5}));
  EXPECT_EQ(banned(1, history), (Ids{3, 4, 5, 7}));
  EXPECT_EQ(banned(4, history), Ids{});
  EXPECT_EQ(banned(7, history), Ids{});
  EXPECT_EQ(banned(2, {3, 3}), (Ids{3}));
  EXPECT_EQ(banned(1, {1, 3}), (Ids{3}));  // end-of-sequence stays possible
  EXPECT_EQ(banned(1, {1, 3}, 0, ", exempt_special: false"), (Ids{1, 3}));
}

}  // namespace
}  // namespace continuo::test
