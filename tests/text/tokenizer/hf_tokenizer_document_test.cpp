#include "text/tokenizer/hf_tokenizer_document.h"

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

HfTokenizerDocument parse(const std::string& json) {
  return HfTokenizerDocument::parse(json, {.file = "t"});
}

TEST(HfTokenizerDocument, TablesBesideTheTree) {
  const HfTokenizerDocument document = parse(
      R"({"a": [{"vocab": {"x": 1}, "merges": ["p q"]}], "vocab": {"y": 2}, "model": {
          "type": "BPE", "vocab": {"b": 1, "a": 0}, "merges": ["#version: 1", "a b", ["a ", "b"]],
          "inner": {"vocab": {"z": 3}}}})");
  EXPECT_EQ(document.rest, nlohmann::json::parse(
                               R"({"a": [{"vocab": {"x": 1}, "merges": ["p q"]}], "vocab": {"y": 2},
          "model": {"type": "BPE", "vocab": {}, "merges": [], "inner": {"vocab": {"z": 3}}}})"));
  ASSERT_EQ(document.pieces.size(), 2u);
  EXPECT_EQ(document.pieces[0].text, "b");
  EXPECT_EQ(document.pieces[0].id, 1u);
  ASSERT_EQ(document.merges.size(), 2u);
  EXPECT_EQ(document.merges[0].text, "ab");
  EXPECT_EQ(document.merges[0].left, 1u);
  EXPECT_EQ(document.merges[0].number, 1u);
  EXPECT_EQ(document.merges[1].text, "a b");
  EXPECT_EQ(document.merges[1].left, 2u);
  EXPECT_FALSE(document.no_id);
}

TEST(HfTokenizerDocument, OtherVocabulariesStayInTheTree) {
  const auto unigram = nlohmann::json::parse(R"({"model": {"vocab": [["a", -1.0], ["b", -2.0]]}})");
  const HfTokenizerDocument document = parse(unigram.dump());
  EXPECT_EQ(document.rest, unigram);
  EXPECT_TRUE(document.pieces.empty());
}

TEST(HfTokenizerDocument, WhatIsNoIdIsKept) {
  const HfTokenizerDocument document =
      parse(R"({"model": {"vocab": {"a": 0, "b": [{"c": 1}], "d": -1, "e": 2}}})");
  ASSERT_TRUE(document.no_id);
  EXPECT_EQ(document.no_id->first, "b");
  EXPECT_EQ(document.no_id->second, "(no number)");
  EXPECT_EQ(document.pieces.size(), 4u);
}

TEST(HfTokenizerDocument, MergesAreTwoPieces) {
  for (const char* entry : {"1", "{}", "[]", "[\"a\"]", "[\"a\", \"b\", \"c\"]", "[[\"a\", \"b\"]]",
                            "[\"a\", 1]", "null"}) {
    const std::string json = std::string(R"({"model": {"merges": ["a b", )") + entry + "]}}";
    EXPECT_NE(test::error_of([&] { parse(json); }).find("model.merges[1] must be two pieces"),
              std::string::npos)
        << entry;
  }
}

}  // namespace
}  // namespace continuo
