#include "data/conversation_row.h"

#include <algorithm>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace continuo {
namespace {

using RowJson = nlohmann::ordered_json;

constexpr std::string_view kTurnRoles[] = {"system", "developer", "user", "assistant", "tool"};

std::string_view kind_of(const RowJson& json) {
  if (json.is_string()) return describe(JsonKind::kString);
  if (json.is_number()) return describe(JsonKind::kNumber);
  if (json.is_boolean()) return describe(JsonKind::kBool);
  if (json.is_object()) return describe(JsonKind::kObject);
  return describe(json.is_array() ? JsonKind::kList : JsonKind::kNull);
}

RowFault malformed_turn(std::string message, std::string hint = {}) {
  return {"malformed messages", std::move(message), std::move(hint)};
}

RowFault not_a_string(const RowJson& value, const std::string& path) {
  return malformed_turn(fmt::format("{} is {}, not a string", path, kind_of(value)));
}

const RowJson* member(const RowJson& json, const std::string& name) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

// What a dotted path leads to; the names on it may hold dots themselves.
const RowJson* at_path(const RowJson& json, std::string_view path) {
  if (json.is_array()) {
    for (size_t i = 0; i < json.size(); ++i) {
      const std::string index = std::to_string(i);
      if (path == index) return &json[i];
      if (path.starts_with(index + ".")) return at_path(json[i], path.substr(index.size() + 1));
    }
  }
  if (!json.is_object()) return nullptr;
  for (const auto& [name, value] : json.items()) {
    if (path == name) return &value;
    if (!path.starts_with(name + ".")) continue;
    if (const RowJson* found = at_path(value, path.substr(name.size() + 1))) return found;
  }
  return nullptr;
}

// All parts of a content as one text; the last one loses the suffix.
std::variant<std::string, RowFault> joined_parts(RowJson& parts, const std::string& path,
                                                 std::string_view suffix) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    const RowJson* type = member(parts[i], "type");
    const RowJson* given = member(parts[i], "text");
    if (!type || *type != "text" || !given || !given->is_string()) {
      return malformed_turn(fmt::format("{}.{} is no part with text", path, i),
                            "a content in parts is [{\"type\": \"text\", \"text\": …}]");
    }
    auto part = given->get<std::string>();
    if (i + 1 == parts.size()) part = without_suffix(std::move(part), suffix);
    text += part;
    parts[i]["text"] = std::move(part);
  }
  return text;
}

// {"function": {"name": …, "arguments": …}}, or its inner half alone.
std::optional<RowFault> fault_of_calls(const RowJson& calls, const std::string& path) {
  if (!calls.is_array()) {
    return malformed_turn(fmt::format("{} is {}, not a list", path, kind_of(calls)));
  }
  for (size_t i = 0; i < calls.size(); ++i) {
    const RowJson* function = member(calls[i], "function");
    const RowJson* name = member(function ? *function : calls[i], "name");
    if (name && name->is_string()) continue;
    return malformed_turn(
        fmt::format("{}.{} does not name its function", path, i),
        "a call is {\"type\": \"function\", \"function\": {\"name\": …, \"arguments\": …}}");
  }
  return std::nullopt;
}

// Takes the weight out of a message.
std::variant<float, RowFault> taken_weight(RowJson& message, const std::string& key,
                                           const std::string& path) {
  if (key.empty() || !message.contains(key)) return 1.0f;
  const RowJson value = message[key];
  message.erase(key);
  if (value.is_null()) return 1.0f;
  if (value.is_number() && is_weight(value.get<double>())) return value.get<float>();
  return malformed_turn(fmt::format("{}.{} is {}, not a weight", path, key, value.dump()),
                        "a weight is a number of at least 0");
}

std::variant<Turn, RowFault> turn_of(RowJson message, const std::string& path,
                                     std::string_view suffix, const std::string& turn_weight) {
  if (!message.is_object()) {
    return malformed_turn(fmt::format("{} is {}, not an object", path, kind_of(message)));
  }
  const auto weight = taken_weight(message, turn_weight, path);
  if (const auto* fault = std::get_if<RowFault>(&weight)) return *fault;
  const RowJson* calls = member(message, "tool_calls");
  if (calls) {
    if (auto fault = fault_of_calls(*calls, path + ".tool_calls")) return *std::move(fault);
  }
  Turn turn;
  turn.weight = std::get<float>(weight);
  turn.calls_tools = calls && !calls->empty();
  const bool no_content = turn.calls_tools && !member(message, "content");
  if (!message.contains("role") || !(no_content || message.contains("content"))) {
    return malformed_turn(
        fmt::format("{} has no {}", path, message.contains("role") ? "content" : "role"),
        "a turn is {\"role\": …, \"content\": …}");
  }
  if (!message["role"].is_string()) return not_a_string(message["role"], path + ".role");
  turn.role = message["role"].get<std::string>();
  if (std::ranges::find(kTurnRoles, turn.role) == std::end(kTurnRoles)) {
    return malformed_turn(fmt::format("{}: unknown role \"{}\"", path, turn.role),
                          fmt::format("roles are {}", fmt::join(kTurnRoles, ", ")));
  }
  const bool parts = !no_content && message["content"].is_array();
  if (parts) {
    auto text = joined_parts(message["content"], path + ".content", suffix);
    if (auto* fault = std::get_if<RowFault>(&text)) return std::move(*fault);
    turn.content = std::get<std::string>(std::move(text));
  } else if (!no_content) {
    if (!message["content"].is_string()) {
      return not_a_string(message["content"], path + ".content");
    }
    turn.content = message["content"].get<std::string>();
    turn.content = without_suffix(std::move(turn.content), suffix);
    message["content"] = turn.content;
  }
  if (no_content || parts || message.size() > 2) turn.message = message.dump();
  return turn;
}

}  // namespace

std::variant<Conversation, RowFault> conversation_of(const nlohmann::ordered_json& row,
                                                     std::string_view path,
                                                     std::string_view strip_suffix,
                                                     const std::string& turn_weight) {
  const RowJson* messages = at_path(row, path);
  if (!messages || !messages->is_array()) {
    return RowFault{"wrong type",
                    fmt::format("field {} is {}, not a list of turns", path,
                                messages ? kind_of(*messages) : "missing"),
                    ""};
  }
  if (messages->empty()) return malformed_turn(fmt::format("{} is an empty list", path));
  Conversation conversation;
  for (size_t i = 0; i < messages->size(); ++i) {
    auto turn = turn_of((*messages)[i], fmt::format("{}.{}", path, i), strip_suffix, turn_weight);
    if (auto* fault = std::get_if<RowFault>(&turn)) return std::move(*fault);
    conversation.turns.push_back(std::get<Turn>(std::move(turn)));
  }
  if (const RowJson* tools = member(row, "tools")) {
    // Data sets hold them as a list, or as its JSON in a string.
    const RowJson list =
        tools->is_string() ? RowJson::parse(tools->get<std::string>(), nullptr, false) : *tools;
    if (!list.is_array()) return malformed_turn("tools is no list of JSON schemas");
    if (!list.empty()) conversation.tools = list.dump();
  }
  return conversation;
}

std::optional<Conversation> plain_conversation_of(const JsonRow& row, const std::string& path,
                                                  std::string_view strip_suffix) {
  const JsonValue* list = row.find(path);
  if (!list || list->kind != JsonKind::kList || list->count == 0 || row.find("tools")) {
    return std::nullopt;
  }
  Conversation conversation;
  for (int64_t i = 0; i < list->count; ++i) {
    const std::string place = fmt::format("{}.{}", path, i);
    const JsonValue* turn = row.find(place);
    const JsonValue* role = row.find(place + ".role");
    const JsonValue* content = row.find(place + ".content");
    const bool plain = turn->kind == JsonKind::kObject && turn->count == 2 && role && content &&
                       role->kind == JsonKind::kString && content->kind == JsonKind::kString;
    if (!plain || std::ranges::find(kTurnRoles, role->text) == std::end(kTurnRoles)) {
      return std::nullopt;
    }
    std::string text = content->text;
    text = without_suffix(std::move(text), strip_suffix);
    conversation.turns.push_back({role->text, std::move(text)});
  }
  return conversation;
}

}  // namespace continuo
