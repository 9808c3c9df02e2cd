#include "data/row_parser.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/suggest.h"
#include "core/utf8.h"
#include "data/conversation_row.h"
#include "data/row_reader.h"

namespace continuo {
namespace {

bool is_scalar(const JsonValue* value) {
  return value && value->kind != JsonKind::kObject && value->kind != JsonKind::kList;
}

std::vector<std::string> template_fields(const PromptTemplate& prompt) {
  std::vector<std::string> names = prompt.prompt_fields();
  for (const std::string& name : prompt.completion_fields()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

std::string present(const JsonRow& row) {
  return row.names.empty() ? "the row is empty"
                           : fmt::format("the row has {}", fmt::join(row.names, ", "));
}

RowFault missing_fields(const JsonRow& row, const std::vector<std::string>& missing) {
  std::vector<std::string> candidates;
  for (const auto& [path, value] : row.values) {
    if (candidates.size() < 64 && is_scalar(&value)) candidates.push_back(path);
  }
  const auto close = closest_name(missing.front(), candidates);
  return {"missing field", fmt::format("no field {}; {}", fmt::join(missing, ", "), present(row)),
          close ? fmt::format("did you mean {}?", *close)
                : "the prompt template names the fields that every row must have"};
}

RowFault malformed(std::string message, std::string hint = {}) {
  return {"malformed messages", std::move(message), std::move(hint)};
}

// Whether a prompt template without a chat template writes turns of this role.
bool has_format(std::string_view role) {
  return role == "system" || role == "user" || role == "assistant";
}

}  // namespace

RowFormat detect_format(const DataSource& source, const PromptTemplate& prompt) {
  if (source.format != RowFormat::kAuto) return source.format;
  if (is_text_file(source.path)) return RowFormat::kText;
  const std::vector<std::string> names = template_fields(prompt);
  const std::string file = display_path(source.path);
  RowReader reader(source);
  // Rows that are no JSON are somebody else's fault to report; a file that starts with many of them
  // is not data.
  for (int tries = 0; tries < 100; ++tries) {
    const auto raw = reader.next();
    if (!raw) break;
    const auto parsed = parse_json_row(raw->text);
    const auto* row = std::get_if<JsonRow>(&parsed);
    if (!row) continue;
    const bool whole_text =
        prompt.prompt_fields().empty() && names.size() == 1 && names[0] == source.text;
    const bool record =
        !names.empty() && std::all_of(names.begin(), names.end(), [&](const std::string& name) {
          return is_scalar(row->find(name));
        });
    if (record && !whole_text) return RowFormat::kRecords;
    if (row->find(source.messages)) return RowFormat::kMessages;
    if (is_scalar(row->find(source.text))) return RowFormat::kText;
    throw Error({file, static_cast<int>(raw->line)},
                fmt::format("cannot tell what the rows are: there are not all of {} (records), no "
                            "{} (messages), no {} "
                            "(text); {}",
                            fmt::join(names, ", "), source.messages, source.text, present(*row)),
                "name the row's fields in the prompt template, or set `format` of the source");
  }
  if (const auto raw = RowReader(source).next()) {
    // The first row gets the precise message.
    DataSource records = source;
    records.format = RowFormat::kRecords;
    const auto parsed = RowParser(records, prompt).parse(raw->text);
    if (const auto* fault = std::get_if<RowFault>(&parsed)) {
      throw Error({file, static_cast<int>(raw->line), static_cast<int>(fault->column)},
                  fault->message, fault->hint);
    }
  }
  throw Error(Location{file}, "the file has no rows");
}

RowParser::RowParser(DataSource source, const PromptTemplate& prompt)
    : source_(std::move(source)), prompt_(prompt), json_(!is_text_file(source_.path)) {
  if (!json_ && source_.format != RowFormat::kText) {
    throw Error(
        Location{display_path(source_.path)},
        "a .txt file holds plain text, not records or messages",
        "set `format: text`, or name the file .jsonl when it holds one JSON object per line");
  }
}

std::variant<Record, RowFault> RowParser::parse(std::string_view row) const {
  if (const auto byte = find_invalid_utf8(row)) {
    const Location at = locate_offset(row, *byte, {"row", 1});
    return RowFault{
        "invalid UTF-8",
        fmt::format("invalid UTF-8: byte 0x{:02X}", static_cast<unsigned char>(row[*byte])),
        "save the file as UTF-8", at.column, at.line - 1};
  }
  Record record;
  Parsed parsed;
  if (json_) {
    auto fields = parse_json_row(row);
    if (auto* fault = std::get_if<RowFault>(&fields)) return std::move(*fault);
    auto weight = weight_of(std::get<JsonRow>(fields));
    if (auto* fault = std::get_if<RowFault>(&weight)) return std::move(*fault);
    record.weight = std::get<float>(weight);
    parsed = content(std::get<JsonRow>(fields), row);
  } else {
    parsed = document(std::string(row));
  }
  if (auto* fault = std::get_if<RowFault>(&parsed)) return std::move(*fault);
  record.content = std::get<RecordContent>(std::move(parsed));
  return record;
}

RowParser::Parsed RowParser::content(const JsonRow& row, std::string_view line) const {
  if (source_.format == RowFormat::kRecords) return record(row);
  if (source_.format == RowFormat::kMessages) return messages(row, line);
  const JsonValue* value = row.find(source_.text);
  if (!value) return missing_fields(row, {source_.text});
  Text text = text_of(*value, source_.text);
  if (auto* fault = std::get_if<RowFault>(&text)) return std::move(*fault);
  return document(std::move(std::get<std::string>(text)));
}

std::variant<float, RowFault> RowParser::weight_of(const JsonRow& row) const {
  const JsonValue* value = source_.row_weight.empty() ? nullptr : row.find(source_.row_weight);
  if (!value || value->kind == JsonKind::kNull) return 1.0f;
  const bool number = value->kind == JsonKind::kNumber;
  const double weight = number ? std::strtod(value->text.c_str(), nullptr) : -1;
  if (is_weight(weight)) return static_cast<float>(weight);
  return RowFault{"wrong type",
                  fmt::format("field {} is {}, not a weight", source_.row_weight,
                              number ? std::string_view(value->text) : describe(value->kind)),
                  "a weight is a number of at least 0"};
}

RowParser::Parsed RowParser::record(const JsonRow& row) const {
  Fields fields;
  std::vector<std::string> missing;
  for (const std::string& name : template_fields(prompt_)) {
    const JsonValue* value = row.find(name);
    if (!value) {
      missing.push_back(name);
      continue;
    }
    Text text = text_of(*value, name);
    if (auto* fault = std::get_if<RowFault>(&text)) return std::move(*fault);
    fields[name] = std::move(std::get<std::string>(text));
  }
  if (!missing.empty()) return missing_fields(row, missing);
  const std::vector<std::string>& completion = prompt_.completion_fields();
  if (!completion.empty() &&
      std::all_of(completion.begin(), completion.end(),
                  [&](const std::string& name) { return blank(fields[name]); })) {
    return RowFault{"empty completion",
                    fmt::format("empty completion: {} is blank", fmt::join(completion, ", ")), ""};
  }
  return RecordContent(std::move(fields));
}

RowParser::Parsed RowParser::messages(const JsonRow& row, std::string_view line) const {
  const std::string& list = source_.messages;
  if (!row.find(list)) return missing_fields(row, {list});
  auto plain = plain_conversation_of(row, list, source_.strip_suffix);
  auto parsed = plain ? *std::move(plain)
                      : conversation_of(nlohmann::ordered_json::parse(line), list,
                                        source_.strip_suffix, source_.turn_weight);
  if (auto* fault = std::get_if<RowFault>(&parsed)) return std::move(*fault);
  auto& conversation = std::get<Conversation>(parsed);
  const std::vector<Turn>& turns = conversation.turns;
  bool answered = false;
  for (size_t i = 0; i < turns.size(); ++i) {
    const Turn& turn = turns[i];
    if (!prompt_.is_chat() && (turn.calls_tools || !has_format(turn.role))) {
      return malformed(fmt::format("{}.{} {}", list, i,
                                   turn.calls_tools ? "calls tools" : "has the role " + turn.role),
                       "only a chat template writes that: set `chat` of the prompt template");
    }
    if (turn.role != "assistant") continue;
    if (blank(turn.content) && !turn.calls_tools) {
      return RowFault{"empty completion", fmt::format("{}.{}: empty assistant turn", list, i), ""};
    }
    answered = true;
  }
  if (!answered)
    return malformed(fmt::format("{} has no assistant turn", list), "there is nothing to train on");
  return RecordContent(std::move(conversation));
}

RowParser::Parsed RowParser::document(std::string text) const {
  text = without_suffix(std::move(text), source_.strip_suffix);
  if (blank(text)) return RowFault{"empty completion", "the text is empty", ""};
  return RecordContent(Document{std::move(text)});
}

RowParser::Text RowParser::text_of(const JsonValue& value, std::string_view path) const {
  if (value.kind == JsonKind::kNull || !is_scalar(&value)) {
    std::string hint;
    if (value.kind == JsonKind::kObject)
      hint = fmt::format("name one of its fields: {}.<field>", path);
    if (value.kind == JsonKind::kList) hint = fmt::format("name one of its entries: {}.0", path);
    return RowFault{"wrong type",
                    fmt::format("field {} is {}, not text", path, describe(value.kind)), hint};
  }
  return without_suffix(value.text, source_.strip_suffix);
}

}  // namespace continuo
