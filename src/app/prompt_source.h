// Prompts as a user gives them: text, a record whose fields fill the template, or a conversation.
// From there to the ids that generation starts from. Knows no model.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/error.h"
#include "text/prompt/prompt_template.h"

namespace continuo {

struct PromptInput {
  std::variant<std::string, Fields, Conversation> content;
  Location where;  // for messages; unknown for what was typed
};

// `{"field": …}` or `{"messages": [{"role": …, "content": …}, …], "tools": […]}`. Error: at
// file:line.
PromptInput parse_prompt_record(std::string_view line, const Location& where);

// One prompt a line, blank lines skipped; a name that ends in .jsonl means one record a line.
// Error: unreadable, no prompt in it, what parse_prompt_record finds.
std::vector<PromptInput> read_prompt_file(const std::filesystem::path& file);

// "name=value" each. Error: usage.
Fields parse_field_arguments(std::span<const std::string> arguments);

// Through the template, or `raw`: the text as it is, of a record its field `text`. Error: an empty
// prompt (unless the document opens with BOS), bytes that are not UTF-8, fields that are missing,
// messages with `raw`.
std::vector<TokenId> encode_input(const PromptInput& input, const Tokenizer& tokenizer,
                                  const PromptTemplate& prompt, bool raw);

// One line of at most `columns` columns to know it by.
std::string title_of(const PromptInput& input, int columns);
// The content: a string, an object of fields or a list of messages.
nlohmann::json prompt_json(const PromptInput& input);

}  // namespace continuo
