#include "app/prompt_source.h"

#include <algorithm>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/console.h"
#include "core/files.h"
#include "core/json.h"
#include "core/suggest.h"
#include "core/utf8.h"
#include "data/conversation_row.h"
#include "data/json_row.h"

namespace continuo {
namespace {

using nlohmann::json;

Conversation parse_messages(std::string_view line, const Location& where) {
  auto parsed = conversation_of(nlohmann::ordered_json::parse(line), "messages");
  if (const auto* fault = std::get_if<RowFault>(&parsed)) {
    throw Error(where, fault->message, fault->hint);
  }
  return std::get<Conversation>(std::move(parsed));
}

bool is_empty(const PromptInput& input) {
  const auto* text = std::get_if<std::string>(&input.content);
  return text && text->empty();
}

void check_utf8(std::string_view text) {
  if (const auto offset = find_invalid_utf8(text)) {
    throw Error(fmt::format("the prompt is not UTF-8: byte {} is 0x{:02X}", *offset,
                            static_cast<unsigned char>(text[*offset])),
                "convert it, for example with iconv -t UTF-8");
  }
}

// Says what was given beside what is missing, which shows a misspelt name.
const std::string& require_field(const Fields& fields, const std::string& name,
                                 std::string_view who) {
  const auto found = fields.find(name);
  if (found != fields.end()) return found->second;
  std::vector<std::string> given;
  for (const auto& [key, value] : fields) given.push_back(key);
  throw Error(fmt::format("{} needs the field '{}', which is not given", who, name),
              given.empty() ? "" : fmt::format("given: {}", fmt::join(given, ", ")));
}

std::vector<Segment> render(const PromptInput& input, const PromptTemplate& prompt) {
  if (const auto* text = std::get_if<std::string>(&input.content)) {
    return prompt.render_prompt(*text);
  }
  if (const auto* conversation = std::get_if<Conversation>(&input.content)) {
    return prompt.render_prompt(conversation->turns, conversation->tools);
  }
  const Fields& fields = std::get<Fields>(input.content);
  for (const std::string& name : prompt.prompt_fields())
    require_field(fields, name, "the template");
  return prompt.render_prompt(fields);
}

// The text itself: what was typed, or the field `text` of a record.
std::vector<Segment> raw_segments(const PromptInput& input) {
  if (const auto* text = std::get_if<std::string>(&input.content)) return {{.text = *text}};
  if (const auto* fields = std::get_if<Fields>(&input.content)) {
    return {{.text = require_field(*fields, "text", "--raw")}};
  }
  throw Error("--raw continues a text, and messages are none",
              R"(write {"text": "…"}, or leave --raw out)");
}

}  // namespace

PromptInput parse_prompt_record(std::string_view line, const Location& where) {
  const json document = parse_json(line, where);
  if (document.is_string()) return {document.get<std::string>(), where};
  if (!document.is_object()) {
    throw Error(where, "a line is neither a JSON object nor a string",
                R"(write {"prompt": "…"} or {"messages": […]})");
  }
  if (document.contains("messages")) return {parse_messages(line, where), where};
  const auto row = parse_json_row(line);
  if (const auto* fault = std::get_if<RowFault>(&row)) {
    throw Error({where.file, where.line, static_cast<int>(fault->column)}, fault->message,
                fault->hint);
  }
  Fields fields;
  for (const auto& [path, value] : std::get<JsonRow>(row).values) {
    const bool scalar = value.kind == JsonKind::kString || value.kind == JsonKind::kNumber ||
                        value.kind == JsonKind::kBool;
    if (scalar) fields.emplace(path, value.text);
  }
  return {std::move(fields), where};
}

std::vector<PromptInput> read_prompt_file(const std::filesystem::path& file) {
  const std::string text = read_file(file);
  const bool records = file.extension() == ".jsonl";
  std::vector<PromptInput> inputs;
  Location where{file.string()};
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    ++where.line;
    if (line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    inputs.push_back(records ? parse_prompt_record(line, where) : PromptInput{line, where});
  }
  if (inputs.empty()) throw Error(Location{file.string()}, "there is no prompt in this file");
  return inputs;
}

Fields parse_field_arguments(std::span<const std::string> arguments) {
  Fields fields;
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Error::usage(fmt::format("--field {} is not name=value", argument));
    }
    if (!fields.emplace(argument.substr(0, equals), argument.substr(equals + 1)).second) {
      throw Error::usage(fmt::format("--field {} is given twice", argument.substr(0, equals)));
    }
  }
  return fields;
}

std::vector<TokenId> encode_input(const PromptInput& input, const Tokenizer& tokenizer,
                                  const PromptTemplate& prompt, bool raw) {
  try {
    const PromptTemplate form = raw ? prompt.raw() : prompt;
    if (is_empty(input) && !opens_with_bos(tokenizer, form)) {
      throw Error("the prompt is empty", "give at least one character to continue");
    }
    const std::vector<Segment> segments = raw ? raw_segments(input) : render(input, form);
    for (const Segment& segment : segments) check_utf8(segment.text);
    std::vector<TokenId> ids = encode_prompt(tokenizer, form, segments);
    if (ids.empty()) throw Error("the prompt has no tokens", "give something to continue");
    return ids;
  } catch (const Error& error) {
    if (!input.where.known()) throw;
    throw Error(input.where, error.what());
  }
}

std::string title_of(const PromptInput& input, int columns) {
  std::string text;
  if (const auto* typed = std::get_if<std::string>(&input.content)) {
    text = *typed;
  } else if (const auto* conversation = std::get_if<Conversation>(&input.content)) {
    if (!conversation->turns.empty()) text = conversation->turns.back().content;
  } else {
    for (const auto& [name, value] : std::get<Fields>(input.content)) {
      text += fmt::format("{}{}={}", text.empty() ? "" : ", ", name, value);
    }
  }
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
  const std::string_view cut = cut_to_columns(text, columns);
  if (cut.size() == text.size()) return text;
  return std::string(cut_to_columns(text, columns - 1)) + "…";
}

json prompt_json(const PromptInput& input) {
  if (const auto* text = std::get_if<std::string>(&input.content)) return *text;
  if (const auto* conversation = std::get_if<Conversation>(&input.content)) {
    json messages = json::array();
    for (const Turn& turn : conversation->turns) {
      messages.push_back(turn.message.empty() ? json{{"role", turn.role}, {"content", turn.content}}
                                              : json::parse(turn.message));
    }
    return messages;
  }
  json fields = json::object();
  for (const auto& [name, value] : std::get<Fields>(input.content)) fields[name] = value;
  return fields;
}

}  // namespace continuo
