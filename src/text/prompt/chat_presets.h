// Chat templates by name, for models that bring none: what `chat: NAME` stands for.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace continuo {

struct ChatPreset {
  std::string_view name;
  std::string_view source;
  std::string_view specials;  // that the tokenizer must have, separated by spaces
};

std::span<const ChatPreset> chat_presets();
// Error: unknown, with a suggestion.
const ChatPreset& find_chat_preset(const std::string& name);
// "alpaca, chatml, …"
std::string chat_preset_names();

// The names of `chat` that are no preset: no chat template, and that of the base model.
inline constexpr std::string_view kPlainChat = "plain", kBaseChat = "base";

}  // namespace continuo
