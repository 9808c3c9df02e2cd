#include "cli/prompt_source.h"

#include <algorithm>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/console.h"
#include "core/files.h"
#include "core/json.h"
#include "core/suggest.h"
#include "core/utf8.h"
#include "data/json_row.h"

namespace continuo {
namespace {

using nlohmann::json;

std::string string_of(const json& object, const char* key, const Location& where) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_string()) {
    throw Error(where, fmt::format("a message has no text '{}'", key),
                R"(write {"role": "user", "content": "…"})");
  }
  return it->get<std::string>();
}

std::vector<Turn> parse_messages(const json& messages, const Location& where) {
  if (!messages.is_array() || messages.empty()) {
    throw Error(where, "messages is not a list with at least one message");
  }
  std::vector<Turn> turns;
  for (const json& message : messages) {
    if (!message.is_object()) throw Error(where, "a message is not an object");
    turns.push_back({string_of(message, "role", where), string_of(message, "content", where)});
  }
  return turns;
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
  if (const auto* turns = std::get_if<std::vector<Turn>>(&input.content)) {
    return prompt.render_prompt(std::span<const Turn>(*turns));
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
  if (const auto it = document.find("messages"); it != document.end()) {
    return {parse_messages(*it, where), where};
  }
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
  } else if (const auto* turns = std::get_if<std::vector<Turn>>(&input.content)) {
    if (!turns->empty()) text = turns->back().content;
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
  if (const auto* turns = std::get_if<std::vector<Turn>>(&input.content)) {
    json messages = json::array();
    for (const Turn& turn : *turns) {
      messages.push_back({{"role", turn.role}, {"content", turn.content}});
    }
    return messages;
  }
  json fields = json::object();
  for (const auto& [name, value] : std::get<Fields>(input.content)) fields[name] = value;
  return fields;
}

}  // namespace continuo
