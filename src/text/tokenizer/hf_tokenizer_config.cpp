#include "text/tokenizer/hf_tokenizer_config.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
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
    auto flag = [&](const char* name) {
      auto found = entry.find(name);
      return found != entry.end() && found->is_boolean() && found->get<bool>();
    };
    config.added[id] = {.text = entry["content"].get<std::string>(),
                        .special = flag("special"),
                        .has_flags = true,
                        .single_word = flag("single_word"),
                        .lstrip = flag("lstrip"),
                        .rstrip = flag("rstrip"),
                        .normalized = flag("normalized")};
  }
}

std::optional<bool> read_flag(const Json& document, const char* key, const Location& where) {
  auto found = document.find(key);
  if (found == document.end() || found->is_null()) return std::nullopt;
  if (!found->is_boolean()) throw Error(where, fmt::format("{} must be true or false", key));
  return found->get<bool>();
}

// Strings and objects with 'content', in a list or under names.
void read_extra(const Json& document, HfTokenizerConfig& config) {
  auto add = [&](const Json& token) {
    const Json& text = token.is_object() && token.contains("content") ? token["content"] : token;
    if (text.is_string()) config.extra_special.push_back(text.get<std::string>());
  };
  for (const char* key : {"cls_token", "sep_token", "mask_token"}) {
    if (document.contains(key)) add(document[key]);
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!document.contains(key) || !document[key].is_structured()) continue;
    for (const Json& token : document[key]) add(token);
  }
}

// The named and the extra special tokens; what an earlier file mentioned stays.
void read_specials(const Json& document, const Location& where, HfTokenizerConfig& config) {
  auto read = [&](const char* key, HfTokenizerConfig::NamedToken& token) {
    if (!token.mentioned) token = read_named(document, key, where);
  };
  read("bos_token", config.bos);
  read("eos_token", config.eos);
  read("unk_token", config.unk);
  read("pad_token", config.pad);
  read_extra(document, config);
}

Json named_json(const HfTokenizerConfig::NamedToken& token) {
  return token.text ? Json(*token.text) : Json(nullptr);
}

}  // namespace

HfTokenizerConfig HfTokenizerConfig::read(const std::filesystem::path& directory) {
  HfTokenizerConfig config;
  auto read = [&](const std::string& name, auto&& use) {
    std::filesystem::path file = directory / name;
    if (!std::filesystem::exists(file)) return;
    Location where{.file = file.string()};
    std::string bytes = read_file(file);
    Json document = parse_json(bytes, where);
    if (!document.is_object()) throw Error(where, "must be a JSON object");
    use(document, where);
    config.files[name] = std::move(bytes);
  };
  read("tokenizer_config.json", [&](const Json& document, const Location& where) {
    read_specials(document, where, config);
    read_added(document, where, config);
    config.add_bos = read_flag(document, "add_bos_token", where);
    config.json = document.dump();
  });
  read("special_tokens_map.json", [&](const Json& document, const Location& where) {
    read_specials(document, where, config);
  });
  read("added_tokens.json", [&](const Json& document, const Location& where) {
    for (const auto& [text, id] : document.items()) {
      if (!id.is_number_unsigned())
        throw Error(where, fmt::format("the id of '{}' is no number", text));
      config.added.emplace(id.get<int64_t>(), AddedToken{.text = text, .special = true});
    }
  });
  std::filesystem::path chat = directory / "chat_template.jinja";
  if (std::filesystem::exists(chat)) config.files["chat_template.jinja"] = read_file(chat);
  return config;
}

std::string HfTokenizerConfig::dump(std::string_view tokenizer_class, bool dummy_prefix,
                                    bool adds_bos) const {
  Json document = Json::parse(json);
  if (document.empty()) {
    // `legacy: false` is the reading of spaces after special tokens that encode_continuation has.
    document = {{"tokenizer_class", tokenizer_class},
                {"legacy", false},
                {"add_eos_token", false},
                {"add_prefix_space", dummy_prefix},
                {"clean_up_tokenization_spaces", false},
                {"spaces_between_special_tokens", false},
                {"sp_model_kwargs", Json::object()},
                {"use_default_system_prompt", false}};
  }
  document["add_bos_token"] = adds_bos;
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
