// Runs a parsed template. The text that comes out knows which bytes are the template's and which
// came from a message.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "text/jinja/tree.h"

namespace continuo::jinja {

using Variables = std::vector<std::pair<std::string, Value>>;

// `name` names the template in errors; `today` ("2026-07-31") is the day of strftime_now, empty:
// the day it is. Error at `name`:line:column: what the template raises (raise_exception), wrong
// types and names, and a template that does more than its budget allows. Bounded in time, memory
// and depth.
Text render(const Body& body, const Variables& variables, const std::string& name,
            const std::string& today = {});

}  // namespace continuo::jinja
