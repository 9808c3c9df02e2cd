// Conversations as rows of JSON hold them: turns of a role and a content, the calls of tools that
// an assistant made, the tools it had. Checks the form; what the template makes of it is another's
// matter. Faults are values, as in json_row.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <nlohmann/json_fwd.hpp>

#include "data/json_row.h"
#include "text/prompt/segment.h"

namespace continuo {

// `path` names the list of messages, and may lead into the row ("chat.turns"); the row's own
// `tools` go with them. `strip_suffix` is removed from the end of every content. A content may be
// missing where tools are called, and may come in parts, [{"type": "text", "text": …}].
// `turn_weight` names the key of a message with an answer's weight, which templates do not see.
std::variant<Conversation, RowFault> conversation_of(const nlohmann::ordered_json& row,
                                                     std::string_view path,
                                                     std::string_view strip_suffix = {},
                                                     const std::string& turn_weight = {});

// The same from a row that is parsed already, where its turns are a role and a content and there
// are no tools: most rows need no tree. Nothing where there is more, or a fault to find.
std::optional<Conversation> plain_conversation_of(const JsonRow& row, const std::string& path,
                                                  std::string_view strip_suffix = {});

}  // namespace continuo
