#include "text/tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

PreTokenizer make_pre_tokenizer(const std::string& json) {
  nlohmann::json document = nlohmann::json::parse(json);
  Location where{.file = "t.json"};
  return PreTokenizer(JsonField(document, where));
}

// The words between bars.
std::string cut_words(const std::string& json, std::string_view text,
                      PreTokenizer::Place place = {}) {
  PreTokenizer::Words words;
  make_pre_tokenizer(json).split(text, place, words);
  std::string shown;
  for (std::string_view word : words.words) shown += (shown.empty() ? "" : "|") + std::string(word);
  return shown;
}

std::string split_step(const std::string& behavior, bool invert = false) {
  return R"({"type": "Split", "pattern": {"Regex": "-"}, "behavior": ")" + behavior +
         R"(", "invert": )" + (invert ? "true" : "false") + "}";
}

TEST(PreTokenizer, Gpt2Pattern) {
  std::string step = R"({"type": "ByteLevel", "add_prefix_space": false})";
  EXPECT_EQ(cut_words(step, "I'll say  it 12x!\n\n "), "I|'ll| say| | it| 12|x|!|\n\n ");
  EXPECT_EQ(cut_words(step, ""), "");
  EXPECT_TRUE(make_pre_tokenizer(step).byte_level());
  std::string prefix = R"({"type": "ByteLevel"})";
  EXPECT_EQ(cut_words(prefix, "a b"), " a| b");
  EXPECT_EQ(cut_words(prefix, " a"), " a");
  EXPECT_EQ(cut_words(prefix, "a b", {.opening = false, .first = false}), "a| b");
  EXPECT_TRUE(make_pre_tokenizer(prefix).adds_prefix());
  EXPECT_EQ(
      cut_words(R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})", "a b"),
      "a b");
}

TEST(PreTokenizer, BehavioursOfSplit) {
  std::string text = "the-final--countdown";
  EXPECT_EQ(cut_words(split_step("Removed"), text), "the|final|countdown");
  EXPECT_EQ(cut_words(split_step("Isolated"), text), "the|-|final|-|-|countdown");
  EXPECT_EQ(cut_words(split_step("MergedWithPrevious"), text), "the-|final-|-|countdown");
  EXPECT_EQ(cut_words(split_step("MergedWithNext"), text), "the|-final|-|-countdown");
  EXPECT_EQ(cut_words(split_step("Contiguous"), text), "the|-|final|--|countdown");
  EXPECT_EQ(cut_words(split_step("Removed", true), text), "-|-|-");
}

TEST(PreTokenizer, Digits) {
  EXPECT_EQ(cut_words(R"({"type": "Digits"})", "a12b\u0663\u00bd"), "a|12|b|\u0663\u00bd");
  EXPECT_EQ(cut_words(R"({"type": "Digits", "individual_digits": true})", "a12b"), "a|1|2|b");
}

TEST(PreTokenizer, Metaspace) {
  std::string always = R"({"type": "Metaspace", "replacement": "_"})";
  EXPECT_EQ(cut_words(always, "a  b"), "_a|_|_b");
  EXPECT_EQ(cut_words(always, " a"), "_a");
  std::string first =
      R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "split": false})";
  EXPECT_EQ(cut_words(first, "a b"), "_a_b");
  EXPECT_EQ(cut_words(first, "a b", {.opening = true, .first = false}), "a_b");
  EXPECT_EQ(
      cut_words(R"({"type": "Metaspace", "replacement": "_", "add_prefix_space": false})", "a b"),
      "a|_b");
  EXPECT_EQ(make_pre_tokenizer(first).space_sign(), "_");
}

TEST(PreTokenizer, StepsFollowEachOther) {
  std::string steps = R"({"type": "Sequence", "pretokenizers": [{"type": "Digits"},
      {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": false}]}]})";
  EXPECT_EQ(cut_words(steps, "a1 b"), "a|1| b");
}

TEST(PreTokenizer, FaultsNameTheField) {
  auto fault = [](const std::string& json) {
    return test::error_of([&] { make_pre_tokenizer(json); });
  };
  auto says = [&](const std::string& json, const std::string& words) {
    EXPECT_NE(fault(json).find(words), std::string::npos) << fault(json);
  };
  says(R"({"type": "BertPreTokenizer"})", "type 'BertPreTokenizer' is not a pre-tokenizer");
  says(R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]})",
       "pretokenizers[1].type 'Digits' comes behind ByteLevel");
  says(R"({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"})", "pattern.Regex");
  says(split_step("Sideways"), "behavior 'Sideways' is not known");
  says(R"({"type": "Metaspace", "replacement": "__"})", "replacement must be one character");
  says(R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "x"})", "prepend_scheme 'x'");
  says("[]", "must be an object");
}

}  // namespace
}  // namespace continuo
