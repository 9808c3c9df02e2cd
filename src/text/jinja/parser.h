// Jinja source → tree. Of the language: everything that chat templates use; not inheritance,
// imports and calls with a body.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja/tree.h"

namespace continuo::jinja {

// Error at `name`:line:column: what the lexer finds, a tag or expression that is malformed, unknown
// or too deeply nested.
Body parse(std::string_view source, const std::string& name);

}  // namespace continuo::jinja
