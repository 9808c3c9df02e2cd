// Properties of code points that tokenizers ask for, by Unicode 16.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace continuo {

struct CodePoint {
  uint32_t value = 0;
  size_t length = 0;  // bytes
};
// Of well-formed UTF-8 that is not empty: the first and the last one.
CodePoint first_code_point(std::string_view text);
CodePoint last_code_point(std::string_view text);

bool is_ascii(std::string_view text);
bool is_white_space(uint32_t code_point);  // White_Space
bool is_numeric(uint32_t code_point);      // Nd, Nl, No
bool is_word(uint32_t code_point);         // letters, marks, digits, connectors, joiners

// Characters later than Unicode 9 that a normal form may change or move. Hugging Face's tokenizers
// normalise by Unicode 9, where they stand for themselves and nothing moves across them.
bool later_than_normal_forms(uint32_t code_point);

// Libraries of Unicode 14 know nothing of later characters. For text that holds some: the same text
// with an older character of the same category, script family and length in the place of each, so
// that offsets agree; nothing when there are none.
std::optional<std::string> with_older_characters(std::string_view text);

}  // namespace continuo
