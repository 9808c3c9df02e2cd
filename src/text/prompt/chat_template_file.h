// The chat template that a model directory brings, where transformers keeps it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace continuo {

inline constexpr const char* kChatTemplateFile = "chat_template.jinja";

struct ChatTemplateFile {
  std::string source;
  std::filesystem::path file;
};

// chat_template.jinja, else `chat_template` of tokenizer_config.json (a string, or the one named
// "default" of a list). Error: damaged JSON, another type.
std::optional<ChatTemplateFile> read_chat_template(const std::filesystem::path& directory);

}  // namespace continuo
