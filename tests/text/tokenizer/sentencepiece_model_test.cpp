#include "text/tokenizer/sentencepiece_model.h"

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using Type = SentencePieceModel::Type;

std::string message_field(int number, const std::string& content) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} +
         content;
}

// score 0.5, type as given
std::string piece(const std::string& text, int type) {
  std::string content = message_field(1, text) + std::string("\x15\0\0\0\x3F", 5);
  content += {static_cast<char>(3 << 3), static_cast<char>(type)};
  return message_field(1, content);
}

SentencePieceModel parse(const std::string& bytes) {
  return parse_sentencepiece_model(bytes, {.file = "m"});
}

TEST(SentencePieceModel, ReadsPiecesAndSwitches) {
  std::string bytes = piece("<unk>", 2) + piece("a", 1);
  SentencePieceModel model = parse(bytes + message_field(3, {3 << 3, 0}));
  ASSERT_EQ(model.pieces.size(), 2u);
  EXPECT_EQ(model.pieces[0].type, Type::kUnknown);
  EXPECT_EQ(model.pieces[1].text, "a");
  EXPECT_EQ(model.pieces[1].score, 0.5f);
  EXPECT_EQ(bytes[model.pieces[1].type_offset], 1);
  EXPECT_FALSE(model.add_dummy_prefix);
  EXPECT_TRUE(model.remove_extra_whitespaces);
  EXPECT_TRUE(parse(bytes).add_dummy_prefix) << "the format's default";
}

TEST(SentencePieceModel, AppendedSwitchesOverride) {
  std::string bytes = piece("<unk>", 2) + message_field(3, {3 << 3, 1, 4 << 3, 1});
  EXPECT_TRUE(parse(bytes).add_dummy_prefix);
  SentencePieceModel changed = parse(without_dummy_prefix(bytes));
  EXPECT_FALSE(changed.add_dummy_prefix);
  EXPECT_FALSE(changed.remove_extra_whitespaces);
}

TEST(SentencePieceModel, RefusesWhatWouldMisleadTheLibrary) {
  std::string unknown = piece("<unk>", 2);
  auto fault = [](const std::string& bytes) { return error_of([&] { parse(bytes); }); };
  EXPECT_NE(fault(unknown + piece("a", 1) + piece("a", 1)).find("piece 2 repeats 'a'"),
            std::string::npos);
  EXPECT_NE(fault(unknown + piece("", 1)).find("piece 1 is empty"), std::string::npos);
  EXPECT_NE(fault(unknown + piece("\xFF", 1)).find("piece 1 is not UTF-8"), std::string::npos);
  EXPECT_NE(fault(piece("a", 1)).find("0 unknown pieces"), std::string::npos);
  EXPECT_NE(fault("").find("no pieces"), std::string::npos);
  EXPECT_NE(fault(unknown + message_field(2, {3 << 3, 9})).find("model type 9"), std::string::npos);
  EXPECT_NE(fault(unknown + piece("a", 7)).find("damaged"), std::string::npos);
  EXPECT_NE(fault(unknown.substr(0, unknown.size() - 1)).find("damaged (at byte"),
            std::string::npos);
  std::string nan = unknown;
  nan.replace(nan.find("\x15") + 1, 4, std::string("\0\0\xC0\x7F", 4));
  EXPECT_NE(fault(nan).find("score of piece 0"), std::string::npos);
}

}  // namespace
}  // namespace continuo
