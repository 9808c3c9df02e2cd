// Regular expressions of Hugging Face tokenizers are written for Oniguruma (Ruby syntax); this
// rewrites them for PCRE2 so that they match the same text, and refuses what cannot be carried
// over.
#pragma once

#include <string>
#include <string_view>

namespace continuo {

// `pattern` must be UTF-8. Error (without a place): a construct that has no equal in PCRE2.
std::string pcre2_pattern(std::string_view pattern);

}  // namespace continuo
