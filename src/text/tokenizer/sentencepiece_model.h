// The parts of a SentencePiece model file that its library does not show: the type of every piece
// and the normalizer's switches. Reads the protobuf wire format strictly, so that damaged files end
// in an Error here and never reach the library.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace continuo {

// How pieces spell a space: "▁", U+2581.
inline constexpr std::string_view kSpaceSign = "\xE2\x96\x81";

struct SentencePieceModel {
  enum class Type {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };

  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
    // Of the byte in the file that holds the type, 0 when it is not written.
    size_t type_offset = 0;
  };

  std::vector<Piece> pieces;
  // Defaults are those of the file format.
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  // Rewrites characters (NFKC and the like): text does not round-trip.
  bool has_normalization = false;
  bool has_denormalization = false;
  bool whitespace_as_suffix = false;
  int model_type = 1;  // 1 unigram, 2 BPE, 3 word, 4 character
};

// Error: not such a file, truncated, pieces that are empty, repeated, ill-formed or scored NaN, not
// exactly one unknown piece.
SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const Location& where);

// The same model whose normalizer adds no dummy prefix and keeps every space.
std::string without_dummy_prefix(std::string_view bytes);

}  // namespace continuo
