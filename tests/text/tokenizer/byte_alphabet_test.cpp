#include "text/tokenizer/byte_alphabet.h"

#include <set>

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(ByteAlphabet, EveryByteHasALetterOfItsOwn) {
  std::set<std::string> letters;
  for (int byte = 0; byte < 256; ++byte) {
    std::string bytes(1, static_cast<char>(byte));
    std::string piece = piece_of_bytes(bytes);
    EXPECT_EQ(bytes_of_piece(piece), bytes);
    letters.insert(piece);
  }
  EXPECT_EQ(letters.size(), 256u);
}

TEST(ByteAlphabet, KnownSpellings) {
  EXPECT_EQ(piece_of_bytes(" the\n"), "\u0120the\u010a");
  EXPECT_EQ(piece_of_bytes("\u00e9"), "\u00c3\u00a9");
  EXPECT_EQ(piece_of_bytes(std::string("\0\x7F\xAD", 3)), "\u0100\u0121\u0143");
  EXPECT_EQ(bytes_of_piece(""), "");
}

TEST(ByteAlphabet, OtherCharactersSpellNoByte) {
  for (const char* piece : {" ", "\n", "\u0144", "\u2581", "a\u3042", "\U0001f642"}) {
    EXPECT_EQ(bytes_of_piece(piece), std::nullopt) << piece;
  }
}

}  // namespace
}  // namespace continuo
