#include "generate/stop_matcher.h"

#include <numeric>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"

namespace continuo::test {
namespace {

struct Outcome {
  std::string text, stop;
  int64_t offset = -1;
  bool operator==(const Outcome&) const = default;
};

StopMatcher matcher(const std::vector<std::string>& stops) {
  return StopMatcher(std::make_shared<StopStrings>(stops));
}

// By definition: the first end of any match; of those that end there the longest.
Outcome slow(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::string best;
    for (const std::string& stop : stops) {
      if (stop.size() > best.size() && text.substr(0, end).ends_with(stop)) best = stop;
    }
    if (!best.empty()) {
      return {text.substr(0, end - best.size()), best, static_cast<int64_t>(end - best.size())};
    }
  }
  return {text, "", -1};
}

// Longest proper prefix of a stop string that `text` ends with.
size_t live_prefix(const std::string& text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t n = longest + 1; n < stop.size(); ++n) {
      if (text.ends_with(stop.substr(0, n))) longest = n;
    }
  }
  return longest;
}

Outcome run(const std::vector<std::string>& chunks, const std::vector<std::string>& stops) {
  StopMatcher m = matcher(stops);
  Outcome outcome;
  std::string seen;
  for (const std::string& chunk : chunks) {
    const auto result = m.push(chunk);
    outcome.text += result.bytes;
    seen += chunk;
    if (result.match) {
      outcome.stop = result.match->stop;
      outcome.offset = result.match->offset;
      return outcome;
    }
    EXPECT_EQ(outcome.text.size(), seen.size() - live_prefix(seen, stops)) << seen;
  }
  outcome.text += m.flush();
  return outcome;
}

struct Case {
  std::string text;
  std::vector<std::string> stops;
};

const std::vector<Case> kCases{
    {"hello world", {"wor"}},
    {"AAAB", {"AAB"}},
    {"ABABABC", {"ABABC"}},
    {"xabcdey", {"abcdef", "cde"}},
    {"xabcd", {"bc", "abcd", "abc"}},
    {"never", {"zz", "nope"}},
    {"end\nUse", {"\nUser:"}},
    {"end\nUser: hi", {"\nUser:", "User"}},
    {"a\xF0\x9F\x98\x80z", {"\x9F\x98"}},
    {std::string("a\0b\0\0c", 6), {std::string("\0\0", 2)}},
    {"stop", {"stop"}},
    {"sto", {"stop"}},
    {"aaaaaaaa", {"aaaaaaaaa"}},
    {"", {"x"}},
    {"anything", {}},
};

TEST(StopMatcher, EveryChunkingGivesTheSameResult) {
  for (const Case& c : kCases) {
    const Outcome expected = slow(c.text, c.stops);
    const size_t cuts = c.text.empty() ? 0 : c.text.size() - 1;
    ASSERT_LE(cuts, 16u);
    for (uint32_t mask = 0; mask < (1u << cuts); ++mask) {
      std::vector<std::string> chunks(1);
      for (size_t i = 0; i < c.text.size(); ++i) {
        chunks.back() += c.text[i];
        if (i < cuts && (mask >> i & 1)) chunks.emplace_back();
      }
      ASSERT_EQ(run(chunks, c.stops), expected) << c.text << " cut " << mask;
    }
  }
}

TEST(StopMatcher, RandomTextsOfTwoLettersAgreeWithTheDefinition) {
  const Random random(1, "stops");
  for (uint64_t t = 0; t < 2000; ++t) {
    auto word = [&](uint64_t which, size_t most) {
      std::string w(1 + random.below(most, t, which * 100), 'a');
      for (size_t i = 0; i < w.size(); ++i)
        w[i] = static_cast<char>('a' + random.below(2, t, which * 100 + i + 1));
      return w;
    };
    const std::vector<std::string> stops{word(1, 5), word(2, 5), word(3, 7)};
    const std::string text = word(4, 40);
    std::vector<std::string> chunks;
    for (size_t i = 0; i < text.size();) {
      const size_t n = 1 + random.below(4, t, 1000 + i);
      chunks.push_back(text.substr(i, n));
      i += n;
    }
    ASSERT_EQ(run(chunks, stops), slow(text, stops)) << text;
  }
}

TEST(StopMatcher, SpecialTokensMatchWithoutBeingShown) {
  StopMatcher m = matcher({"<|end|>", "b</s>"});
  EXPECT_EQ(m.push("hi ").bytes, "hi ");
  EXPECT_EQ(m.push("<|user|>", false).bytes, "");
  EXPECT_EQ(m.push("there").bytes, "there");
  const auto result = m.push("<|end|>", false);
  EXPECT_EQ(result.bytes, "");
  ASSERT_TRUE(result.match);
  EXPECT_EQ(result.match->stop, "<|end|>");
  EXPECT_EQ(result.match->offset, 8);  // hidden bytes do not count

  StopMatcher mixed = matcher({"<|end|>", "b</s>"});
  EXPECT_EQ(mixed.push("ab").bytes, "a");
  const auto cut = mixed.push("</s>", false);
  ASSERT_TRUE(cut.match);
  EXPECT_EQ(cut.match->offset, 1);
}

TEST(StopMatcher, HiddenBytesThatWereHeldAreDropped) {
  StopMatcher m = matcher({"<|end|>x"});
  EXPECT_EQ(m.push("<|end|>", false).bytes, "");
  EXPECT_EQ(m.push("y").bytes, "y");
  EXPECT_EQ(m.flush(), "");
}

TEST(StopMatcher, EmptyStopStringsAreErrors) { EXPECT_THROW(matcher({"a", ""}), Error); }

}  // namespace
}  // namespace continuo::test
