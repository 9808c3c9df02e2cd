// Jinja source → tokens, with the white space that transformers' settings (trim_blocks,
// lstrip_blocks) and the signs of tags ({%- -%}) take away.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/place.h"

namespace continuo::jinja {

struct Token {
  enum class Kind {
    kData,       // text between tags
    kOutput,     // {{
    kOutputEnd,  // }}
    kBlock,      // {%
    kBlockEnd,   // %}
    kName,       // also keywords
    kInteger,    // `text` as written, without "_"
    kFloat,      //
    kString,     // `text` is its value
    kOperator,   // "==", "|", "(", …
    kEnd,
  };
  Kind kind = Kind::kEnd;
  std::string text;
  Place place;

  bool is(Kind k, std::string_view t) const { return kind == k && text == t; }
  bool op(std::string_view t) const { return is(Kind::kOperator, t); }
  bool name(std::string_view t) const { return is(Kind::kName, t); }
};

using TokenKind = Token::Kind;

// The last token is kEnd. Error at `name`:line:column: a tag, string or bracket that is not closed,
// a character that means nothing.
std::vector<Token> tokenize(std::string_view source, const std::string& name);

}  // namespace continuo::jinja
