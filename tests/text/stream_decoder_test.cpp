#include "text/stream_decoder.h"

#include <gtest/gtest.h>

#include "core/utf8.h"
#include "text/small_tokenizers.h"

namespace continuo {
namespace {

using test::lossless_kinds;
using test::small_tokenizer;
using test::SmallKind;

std::string stream(const Tokenizer& tokenizer, std::span<const TokenId> ids, bool continues) {
  StreamDecoder decoder(tokenizer, continues);
  std::string text;
  for (TokenId id : ids) {
    std::string chunk = decoder.push(id);
    EXPECT_FALSE(find_invalid_utf8(chunk));
    text += chunk;
  }
  return text + decoder.finish();
}

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

TEST(StreamDecoder, ConcatenationEqualsDecodeForEverySplit) {
  std::mt19937 random(11);
  for (const SmallKind& kind : lossless_kinds()) {
    const auto& tokenizer = small_tokenizer(kind);
    for (int i = 0; i < 1500; ++i) {
      std::string text = test::random_text(random);
      std::vector<TokenId> encoded = tokenizer.encode(text);
      ASSERT_EQ(stream(tokenizer, encoded, false), text);
      ASSERT_EQ(stream(tokenizer, tokenizer.encode_continuation(text), true), text);
      std::vector<TokenId> split = random_split(tokenizer, text, random);
      ASSERT_EQ(stream(tokenizer, split, true), text);
      ASSERT_EQ(stream(tokenizer, split, false), tokenizer.decode(split));
    }
  }
}

TEST(StreamDecoder, RandomIdsEqualTheRepairedDecode) {
  std::mt19937 random(12);
  for (const SmallKind& kind : lossless_kinds()) {
    const auto& tokenizer = small_tokenizer(kind);
    for (int i = 0; i < 2000; ++i) {
      std::vector<TokenId> ids(random() % 12);
      for (TokenId& id : ids)
        id = static_cast<TokenId>(random() % static_cast<uint64_t>(tokenizer.size()));
      ASSERT_EQ(stream(tokenizer, ids, false), replace_invalid_utf8(tokenizer.decode(ids)));
    }
  }
}

TEST(StreamDecoder, HoldsIncompleteCodePoints) {
  const auto& tokenizer = small_tokenizer();
  StreamDecoder decoder(tokenizer, true);
  auto byte = [&](int value) { return *tokenizer.find(fmt::format("<0x{:02X}>", value)); };
  EXPECT_EQ(decoder.push(byte(0xF0)), "");
  EXPECT_EQ(decoder.push(byte(0x9F)), "");
  EXPECT_EQ(decoder.push(byte(0x99)), "");
  EXPECT_EQ(decoder.push(byte(0x82)), "🙂");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, IllFormedBytesBecomeOneReplacementEach) {
  const auto& tokenizer = small_tokenizer();
  auto byte = [&](int value) { return *tokenizer.find(fmt::format("<0x{:02X}>", value)); };
  StreamDecoder decoder(tokenizer, true);
  EXPECT_EQ(decoder.push(byte(0xE6)), "");
  EXPECT_EQ(decoder.push(byte(0x97)), "");
  EXPECT_EQ(decoder.push(*tokenizer.find("▁the")), "\uFFFD the");
  EXPECT_EQ(decoder.push(byte(0xFF)), "\uFFFD");
  EXPECT_EQ(decoder.push(byte(0xE6)), "");
  EXPECT_EQ(decoder.push(byte(0x97)), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, StripsTheDummySpaceOnceAndOnlyAtTheStart) {
  const auto& tokenizer = small_tokenizer({TokenizerModel::kUnigram, true});
  TokenId the = *tokenizer.find("▁the");
  EXPECT_EQ(stream(tokenizer, std::vector{the, the}, false), "the the");
  EXPECT_EQ(stream(tokenizer, std::vector{the, the}, true), " the the");
  EXPECT_EQ(stream(tokenizer, std::vector{*tokenizer.bos(), the}, false), "the");
  EXPECT_EQ(stream(tokenizer, std::vector{the, *tokenizer.eos()}, false), "the");
  EXPECT_EQ(stream(small_tokenizer(), std::vector{*small_tokenizer().find("▁the")}, false), " the");
}

}  // namespace
}  // namespace continuo
