#include "text/tokenizer/normalizer.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

Normalizer make_normalizer(const std::string& json) {
  nlohmann::json document = nlohmann::json::parse(json);
  Location where{.file = "t.json"};
  return Normalizer(JsonField(document, where));
}

std::string normalized(const std::string& json, std::string_view text, bool opening = true) {
  std::string storage;
  return std::string(make_normalizer(json).apply(text, opening, storage));
}

TEST(Normalizer, NormalForms) {
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "e\u0301 \u1100\u1161"), "\u00e9 \uac00");
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "\u00e9"), "e\u0301");
  EXPECT_EQ(normalized(R"({"type": "NFKC"})", "\ufb01 \u2460 \uff21"), "fi 1 A");
  EXPECT_EQ(normalized(R"({"type": "NFKD"})", "\u00e9\ufb01"), "e\u0301fi");
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "q\u0307\u0323"), "q\u0323\u0307");
}

TEST(Normalizer, CharactersLaterThanUnicode9StayWhereTheyAre) {
  EXPECT_EQ(normalized(R"({"type": "NFKC"})", "\u32ff\U0001e030"), "\u32ff\U0001e030");
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "a\u0345\U00010f46"), "a\u0345\U00010f46");
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "e\U00010f46\u0301"), "e\U00010f46\u0301");
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "\U00011935\U00011930e\u0301"),
            "\U00011935\U00011930\u00e9");
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "\U00011938"), "\U00011938");
}

TEST(Normalizer, ReplaceAndPrepend) {
  std::string llama = R"({"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "\u2581"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]})";
  EXPECT_EQ(normalized(llama, "a  b"), "\u2581a\u2581\u2581b");
  EXPECT_EQ(normalized(llama, "a b", false), "a\u2581b");
  EXPECT_EQ(normalized(llama, ""), "");
  Normalizer normalizer = make_normalizer(llama);
  EXPECT_TRUE(normalizer.prepends());
  EXPECT_EQ(normalizer.space_sign(), "\u2581");
  EXPECT_EQ(
      normalized(R"({"type": "Replace", "pattern": {"Regex": "\\d+"}, "content": ""})", "a12b3"),
      "ab");
}

TEST(Normalizer, DescriptionsTellThemApart) {
  auto description = [](const std::string& json) { return make_normalizer(json).description(); };
  std::string one = R"({"type": "Replace", "pattern": {"String": "a"}, "content": "bc"})";
  std::string two = R"({"type": "Replace", "pattern": {"String": "ab"}, "content": "c"})";
  EXPECT_EQ(description(one), description(one));
  EXPECT_NE(description(one), description(two));
  EXPECT_NE(description(R"({"type": "NFC"})"), description(R"({"type": "NFD"})"));
}

TEST(Normalizer, ReplacesThatMultiplyAreStopped) {
  std::string steps;
  for (int i = 0; i < 60; ++i) {
    steps += std::string(i ? "," : "") +
             R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})";
  }
  std::string bomb = R"({"type": "Sequence", "normalizers": [)" + steps + "]}";
  EXPECT_NE(test::error_of([&] { normalized(bomb, "a"); }).find("makes a text longer than"),
            std::string::npos);
  EXPECT_EQ(normalized(bomb, "b"), "b");
}

TEST(Normalizer, FaultsNameTheField) {
  auto fault = [](const std::string& json) {
    return test::error_of([&] { make_normalizer(json); });
  };
  EXPECT_NE(fault(R"({"type": "Lowercase"})").find("type 'Lowercase' is not a normalizer"),
            std::string::npos);
  EXPECT_NE(fault(R"({"type": "Prepend", "prepend": "x"})").find("prepend must be"),
            std::string::npos);
  EXPECT_NE(fault(R"({"type": "Sequence", "normalizers": [{"type": "Replace"}]})")
                .find("normalizers[0] has no 'pattern'"),
            std::string::npos);
  EXPECT_NE(fault("{}").find("has no 'type'"), std::string::npos);
}

}  // namespace
}  // namespace continuo
