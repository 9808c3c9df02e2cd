// What every tokenizer promises of the bytes of its tokens.
#include "text/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include "core/utf8.h"
#include "support/token_stream.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::lossless_kinds;
using test::small_tokenizer;
using test::SmallKind;
using test::streamed;

// Some other way to cut `text` into tokens: pieces of the vocabulary at random, else bytes.
std::vector<TokenId> random_split(const Tokenizer& tokenizer, const std::string& text,
                                  std::mt19937& random) {
  std::vector<TokenId> ids;
  for (size_t at = 0; at < text.size();) {
    size_t length = 1 + random() % 5;
    std::string piece;
    for (char c : text.substr(at, length)) piece += c == ' ' ? "\xE2\x96\x81" : std::string(1, c);
    auto id = tokenizer.find(piece);
    bool usable =
        id && !tokenizer.is_special(*id) && tokenizer.token_bytes(*id) == text.substr(at, length);
    if (!usable) {
      length = 1;
      id = tokenizer.find(fmt::format("<0x{:02X}>", static_cast<uint8_t>(text[at])));
    }
    ids.push_back(*id);
    at += length;
  }
  return ids;
}

TEST(Tokenizer, BytesOfTokensInARowAreTheDecodedTextForEverySplit) {
  std::mt19937 random(11);
  for (const SmallKind& kind : lossless_kinds()) {
    const auto& tokenizer = small_tokenizer(kind);
    for (int i = 0; i < 1500; ++i) {
      std::string text = test::random_text(random);
      std::vector<TokenId> encoded = tokenizer.encode(text);
      ASSERT_EQ(streamed(tokenizer, encoded, false), text);
      ASSERT_EQ(streamed(tokenizer, tokenizer.encode_continuation(text), true), text);
      std::vector<TokenId> split = random_split(tokenizer, text, random);
      ASSERT_EQ(streamed(tokenizer, split, true), text);
      ASSERT_EQ(streamed(tokenizer, split, false), tokenizer.decode(split));
    }
  }
}

TEST(Tokenizer, BytesOfRandomIdsAreTheRepairedDecode) {
  std::mt19937 random(12);
  for (const SmallKind& kind : lossless_kinds()) {
    const auto& tokenizer = small_tokenizer(kind);
    for (int i = 0; i < 2000; ++i) {
      std::vector<TokenId> ids(random() % 12);
      for (TokenId& id : ids)
        id = static_cast<TokenId>(random() % static_cast<uint64_t>(tokenizer.size()));
      ASSERT_EQ(streamed(tokenizer, ids, false), replace_invalid_utf8(tokenizer.decode(ids)));
    }
  }
}

TEST(Tokenizer, TheDummySpaceIsStrippedOnceAndOnlyAtTheStart) {
  const auto& tokenizer = small_tokenizer({TokenizerModel::kUnigram, true});
  TokenId the = *tokenizer.find("▁the");
  EXPECT_EQ(streamed(tokenizer, std::vector{the, the}, false), "the the");
  EXPECT_EQ(streamed(tokenizer, std::vector{the, the}, true), " the the");
  EXPECT_EQ(streamed(tokenizer, std::vector{*tokenizer.bos(), the}, false), "the");
  EXPECT_EQ(streamed(tokenizer, std::vector{the, *tokenizer.eos()}, false), "the");
  EXPECT_EQ(tokenizer.decode(std::vector{the, the}), "the the");
  EXPECT_EQ(tokenizer.decode(std::vector{*tokenizer.bos(), the}), "the");
  EXPECT_EQ(streamed(small_tokenizer(), std::vector{*small_tokenizer().find("▁the")}, false),
            " the");
}

}  // namespace
}  // namespace continuo
