#include "text/tokenizer/hf_tokenizer_file.h"

#include <gtest/gtest.h>

#include "text/tokenizer/golden_tokenizers.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

HfTokenizerFile parse_file(const std::string& json, const Location& where) {
  return HfTokenizerFile::read(HfTokenizerDocument::parse(json, where), where);
}

using Json = nlohmann::json;
using test::tiny_tokenizer;

std::string file_fault(const Json& document) {
  Location where{.file = "dir/tokenizer.json"};
  return test::error_of([&] { parse_file(document.dump(), where); });
}

std::string fault_with(const std::string& pointer, const Json& value) {
  Json document = tiny_tokenizer();
  document[Json::json_pointer(pointer)] = value;
  return file_fault(document);
}

TEST(HfTokenizerFile, TakesADocumentApart) {
  Json document = tiny_tokenizer();
  document["post_processor"] = Json::parse(R"({"type": "TemplateProcessing", "single": [
      {"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "c"}}]})");
  HfTokenizerFile file = parse_file(document.dump(), {.file = "t"});
  EXPECT_EQ(file.pieces, (std::vector<std::string>{"a", "b", "c", "ab"}));
  ASSERT_EQ(file.merges.size(), 1u);
  EXPECT_EQ(file.merges[0].left, 0);
  EXPECT_EQ(file.merges[0].right, 1);
  EXPECT_EQ(file.merges[0].merged, 3);
  ASSERT_EQ(file.added.size(), 1u);
  EXPECT_TRUE(file.added[0].special);
  EXPECT_EQ(file.opening, std::vector<TokenId>{4});
  EXPECT_EQ(file.closing, std::vector<TokenId>{2});
}

TEST(HfTokenizerFile, MergesAreWordsOrPairs) {
  Json document = tiny_tokenizer();
  document["model"]["merges"] = {"#version: 0.2", Json::array({"a", "b"})};
  EXPECT_EQ(parse_file(document.dump(), {.file = "t"}).merges.size(), 1u);
}

TEST(HfTokenizerFile, FaultsNameFileFieldAndReason) {
  struct Case {
    const char* pointer;
    Json value;
    const char* words;
  };
  const Case cases[] = {
      {"/version", "2.0", "version is '2.0'"},
      {"/model", nullptr, "has no 'model'"},
      {"/model", 3, "model must be an object"},
      {"/model/type", "WordPiece", "model.type 'WordPiece' is not a model that is supported"},
      {"/model/dropout", 0.1, "model.dropout makes ids random"},
      {"/model/byte_fallback", 1, "model.byte_fallback must be true or false"},
      {"/model/continuing_subword_prefix", "##", "model.continuing_subword_prefix"},
      {"/model/unk_token", "<unk>", "model.unk_token '<unk>' is not in vocab"},
      {"/model/vocab", Json::array(), "model.vocab must be an object"},
      {"/model/vocab", Json::object(), "model.vocab is empty"},
      {"/model/vocab/c", 7, "model.vocab of 4 entries gives 'c' the id 7"},
      {"/model/vocab/c", -1, "gives 'c' the id -1"},
      {"/model/vocab/c", 2.5, "gives 'c' the id 2.5"},
      {"/model/vocab/c", 18446744073709551615u, "the id 18446744073709551615"},
      {"/model/vocab/c", "2", "(no number)"},
      {"/model/vocab/c", 0, "gives 'a' and 'c' the same id 0"},
      {"/model/merges", nullptr, "has no 'merges'"},
      {"/model/merges", {{"a", 1}}, "model.merges must be an array"},
      {"/model/merges/0", "a x", "model.merges[0] needs 'x', which is not in vocab"},
      {"/model/merges/0", "b c", "model.merges[0] needs 'bc', which is not in vocab"},
      {"/model/merges/0", "ab", "model.merges[0] 'ab' is not two pieces"},
      {"/model/merges/0", "a b c", "is not two pieces"},
      {"/model/merges/0", 5, "model.merges[0] must be two pieces"},
      {"/added_tokens/0/id", 9, "added_tokens[0].id 9 of '<s>' leaves a hole"},
      {"/added_tokens/0/id", 1, "added_tokens[0].id 1 of '<s>' belongs to another token"},
      {"/added_tokens/0/id", 4294967296, "added_tokens[0].id must be a token id"},
      {"/added_tokens/0/content", "", "added_tokens[0].content must not be empty"},
      {"/added_tokens/0/content", "a", "added_tokens[0].id is 4, but 'a' has the id 0"},
      {"/added_tokens/0/special", "yes", "added_tokens[0].special must be true or false"},
      {"/added_tokens/1", {{"id", 4}, {"content", "<t>"}}, "belongs to another token"},
      {"/added_tokens/1", {{"id", 5}, {"content", "<s>"}}, "has '<s>' twice"},
      {"/normalizer", {{"type", "Lowercase"}}, "normalizer.type 'Lowercase'"},
      {"/pre_tokenizer", {{"type", "Whitespace"}}, "pre_tokenizer.type 'Whitespace'"},
      {"/pre_tokenizer", "ByteLevel", "pre_tokenizer must be an object"},
      {"/decoder", {{"type", "WordPiece"}}, "decoder.type 'WordPiece'"},
      {"/decoder", {{"type", "ByteLevel"}}, "does not fit a pre_tokenizer without it"}};
  for (const Case& c : cases) {
    std::string message = fault_with(c.pointer, c.value);
    EXPECT_NE(message.find(c.words), std::string::npos) << c.pointer << ": " << message;
    EXPECT_NE(message.find("dir/tokenizer.json"), std::string::npos) << message;
  }
}

TEST(HfTokenizerFile, FaultsOfUnigramVocabularies) {
  auto fault = [](const Json& vocabulary, const Json& unknown) {
    Json document = tiny_tokenizer();
    document["added_tokens"] = Json::array();
    document["model"] = {{"type", "Unigram"}, {"unk_id", unknown}, {"vocab", vocabulary}};
    return file_fault(document);
  };
  Json good = Json::parse(R"([["a", -1.0], ["b", -2.0]])");
  EXPECT_EQ(fault(good, 0), "(no error)");
  EXPECT_NE(fault(good, 2).find("model.unk_id is outside"), std::string::npos);
  EXPECT_NE(fault(Json::parse(R"([["a", -1], ["a", -2]])"), 0).find("has 'a' twice"),
            std::string::npos);
  EXPECT_NE(fault(Json::parse(R"([["a", -1], ["b", "x"]])"), 0).find("model.vocab[1]"),
            std::string::npos);
  EXPECT_NE(fault(Json::array(), 0).find("model.vocab is empty"), std::string::npos);
}

TEST(HfTokenizerFile, SpacesHaveOneSign) {
  Json document = tiny_tokenizer();
  document["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "_"}};
  document["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}};
  EXPECT_NE(file_fault(document).find("by different characters"), std::string::npos);
  document["pre_tokenizer"] = {{"type", "ByteLevel"}};
  EXPECT_NE(file_fault(document).find("mixes ByteLevel"), std::string::npos);
}

TEST(HfTokenizerFile, DamagedJsonHasAPlace) {
  auto fault = [](const std::string& json) {
    return test::error_of([&] { parse_file(json, {.file = "t.json"}); });
  };
  EXPECT_NE(fault("{\n\"model\": ").find("t.json:2"), std::string::npos);
  EXPECT_NE(fault("[]").find("must be a JSON object"), std::string::npos);
  EXPECT_NE(fault(std::string(100'000, '[')).find("nested deeper than"), std::string::npos);
}

}  // namespace
}  // namespace continuo
