#include "text/hf_tokenizer_config.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"

namespace continuo {
namespace {

using Json = nlohmann::json;

HfTokenizerConfig::NamedToken read_named(const Json& document, const char* key,
                                         const Location& where) {
  auto found = document.find(key);
  if (found == document.end()) return {};
  if (found->is_null()) return {.mentioned = true, .text = {}};
  if (found->is_string()) return {.mentioned = true, .text = found->get<std::string>()};
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
    return {.mentioned = true, .text = (*found)["content"].get<std::string>()};
  }
  throw Error(where, fmt::format("{} must be a string or an object with 'content'", key));
}

void read_added(const Json& document, const Location& where, HfTokenizerConfig& config) {
  auto decoder = document.find("added_tokens_decoder");
  if (decoder == document.end()) return;
  if (!decoder->is_object()) throw Error(where, "added_tokens_decoder must be an object");
  for (const auto& [key, entry] : decoder->items()) {
    int64_t id = -1;
    auto [end, fault] = std::from_chars(key.data(), key.data() + key.size(), id);
    bool number = fault == std::errc{} && end == key.data() + key.size() && id >= 0;
    if (!number || !entry.is_object() || !entry.contains("content") ||
        !entry["content"].is_string()) {
      throw Error(where,
                  fmt::format("added_tokens_decoder: '{}' is not an id with its 'content'", key));
    }
    auto special = entry.find("special");
    bool is_special = special != entry.end() && special->is_boolean() && special->get<bool>();
    config.added[id] = {entry["content"].get<std::string>(), is_special};
  }
}

Json named_json(const HfTokenizerConfig::NamedToken& token) {
  return token.text ? Json(*token.text) : Json(nullptr);
}

}  // namespace

HfTokenizerConfig HfTokenizerConfig::read(const std::filesystem::path& directory) {
  HfTokenizerConfig config;
  std::filesystem::path file = directory / "tokenizer_config.json";
  if (std::filesystem::exists(file)) {
    Location where{.file = file.string()};
    Json document = read_json(file);
    if (!document.is_object()) throw Error(where, "must be a JSON object");
    config.bos = read_named(document, "bos_token", where);
    config.eos = read_named(document, "eos_token", where);
    config.unk = read_named(document, "unk_token", where);
    config.pad = read_named(document, "pad_token", where);
    read_added(document, where, config);
    config.json = document.dump();
  }
  std::filesystem::path added = directory / "added_tokens.json";
  if (std::filesystem::exists(added)) {
    Location where{.file = added.string()};
    Json document = read_json(added);
    if (!document.is_object()) throw Error(where, "must be a JSON object");
    for (const auto& [text, id] : document.items()) {
      if (!id.is_number_unsigned())
        throw Error(where, fmt::format("the id of '{}' is no number", text));
      config.added.emplace(id.get<int64_t>(), AddedToken{text, true});
    }
  }
  return config;
}

std::string HfTokenizerConfig::dump(std::string_view tokenizer_class, bool dummy_prefix) const {
  Json document = Json::parse(json);
  if (document.empty()) {
    // Ids are never added behind the caller's back; `legacy: false` is the reading of spaces after
    // special tokens that encode_continuation has.
    document = {{"tokenizer_class", tokenizer_class},
                {"legacy", false},
                {"add_bos_token", false},
                {"add_eos_token", false},
                {"add_prefix_space", dummy_prefix},
                {"clean_up_tokenization_spaces", false},
                {"spaces_between_special_tokens", false},
                {"sp_model_kwargs", Json::object()},
                {"use_default_system_prompt", false}};
  }
  document["bos_token"] = named_json(bos);
  document["eos_token"] = named_json(eos);
  document["unk_token"] = named_json(unk);
  document["pad_token"] = named_json(pad);
  Json& decoder = document["added_tokens_decoder"];
  if (!decoder.is_object()) decoder = Json::object();
  for (const auto& [id, token] : added) {
    Json& entry = decoder[std::to_string(id)];
    if (entry.is_object()) continue;
    entry = {{"content", token.text}, {"special", token.special}, {"lstrip", false},
             {"normalized", false},   {"rstrip", false},          {"single_word", false}};
  }
  return document.dump(2) + "\n";
}

}  // namespace continuo
