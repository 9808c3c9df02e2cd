#include "text/tokenizer/byte_alphabet.h"

#include <array>

#include "text/tokenizer/code_points.h"

namespace continuo {
namespace {

struct Alphabet {
  std::array<uint16_t, 256> letter;    // of a byte
  std::array<int16_t, 256 + 68> byte;  // of a letter, -1: none

  Alphabet() {
    byte.fill(-1);
    uint16_t next = 256;
    for (uint16_t b = 0; b < 256; ++b) {
      bool itself = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      letter[b] = itself ? b : next++;
      byte[letter[b]] = static_cast<int16_t>(b);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::optional<std::string> bytes_of_piece(std::string_view piece) {
  std::string bytes;
  for (size_t at = 0; at < piece.size();) {
    CodePoint point = first_code_point(piece.substr(at));
    if (point.value >= alphabet().byte.size() || alphabet().byte[point.value] < 0) return {};
    bytes += static_cast<char>(alphabet().byte[point.value]);
    at += point.length;
  }
  return bytes;
}

std::string piece_of_bytes(std::string_view bytes) {
  std::string piece;
  for (char byte : bytes) {
    uint16_t letter = alphabet().letter[static_cast<uint8_t>(byte)];
    if (letter < 0x80) {
      piece += static_cast<char>(letter);
    } else {
      piece += static_cast<char>(0xC0 | letter >> 6);
      piece += static_cast<char>(0x80 | (letter & 0x3F));
    }
  }
  return piece;
}

}  // namespace continuo
