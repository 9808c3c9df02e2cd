#include "text/prompt/chat_template_file.h"

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/json.h"

namespace continuo {

std::optional<ChatTemplateFile> read_chat_template(const std::filesystem::path& directory) {
  namespace fs = std::filesystem;
  if (const fs::path own = directory / kChatTemplateFile; fs::exists(own)) {
    return ChatTemplateFile{read_file(own), own};
  }
  const fs::path file = directory / "tokenizer_config.json";
  if (!fs::exists(file)) return std::nullopt;
  const nlohmann::json document = read_json(file);
  const auto is_text = [](const nlohmann::json& entry, const char* key) {
    return entry.is_object() && entry.contains(key) && entry[key].is_string();
  };
  if (!document.is_object() || !document.contains("chat_template")) return std::nullopt;
  const nlohmann::json& value = document["chat_template"];
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return ChatTemplateFile{value.get<std::string>(), file};
  if (value.is_array()) {
    for (const nlohmann::json& entry : value) {
      if (is_text(entry, "name") && is_text(entry, "template") && entry["name"] == "default") {
        return ChatTemplateFile{entry["template"].get<std::string>(), file};
      }
    }
    return std::nullopt;
  }
  throw Error(Location{.file = file.string()},
              "chat_template must be a string or a list of {name, template}");
}

}  // namespace continuo
