// What the steps of a tokenizer.json share: a pattern ({"Regex": …} or {"String": …}), and the list
// of steps that a Sequence is.
#pragma once

#include <functional>
#include <string>

#include "text/tokenizer/json_field.h"
#include "text/tokenizer/regex.h"

namespace continuo {

// Error: neither, or a regular expression that does not compile.
Regex read_pattern(const JsonField& pattern);

// Calls `read(step, type)` for each step of `field`, which is one step or a Sequence of them under
// the key `list`, to any depth. Error: no type, nested too deep.
void for_each_step(const JsonField& field, std::string_view list,
                   const std::function<void(const JsonField&, const std::string&)>& read,
                   int depth = 0);

}  // namespace continuo
