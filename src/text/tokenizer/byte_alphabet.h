// The alphabet in which byte-level vocabularies spell bytes: printable Latin-1 for itself, the
// other bytes as U+0100 and on (Radford et al. 2019, GPT-2's encoder.py).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace continuo {

// The bytes that a piece spells ("Ġthe" → " the"); nothing when it has a character of no byte.
std::optional<std::string> bytes_of_piece(std::string_view piece);
std::string piece_of_bytes(std::string_view bytes);

}  // namespace continuo
