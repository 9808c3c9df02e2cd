// Checks and repairs UTF-8: well-formedness by the Unicode standard (no overlong forms, no
// surrogates, at most U+10FFFF). Knows nothing about tokens.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace continuo {

// What stands at the start of some bytes.
struct Utf8Step {
  enum class Kind { kComplete, kIncomplete, kInvalid };
  Kind kind = Kind::kComplete;
  // kComplete: bytes of the code point. kIncomplete: all the bytes, a valid start of a code point.
  // kInvalid: the longest run that one U+FFFD stands for ("maximal subpart", Unicode 15 §3.9), at
  // least 1.
  size_t length = 0;
};
// `bytes` must not be empty.
Utf8Step utf8_step(std::string_view bytes);

// Byte offset of the first ill-formed sequence (an incomplete tail counts); nothing when all is
// well.
std::optional<size_t> find_invalid_utf8(std::string_view bytes);

// Length of `bytes` without an incomplete code point at the end. Ill-formed bytes count as
// complete: no later byte can mend them.
size_t complete_utf8_length(std::string_view bytes);

// Every ill-formed sequence, an incomplete tail too, becomes one U+FFFD.
std::string replace_invalid_utf8(std::string_view bytes);

}  // namespace continuo
