#include "cli/inspect_text.h"

#include <algorithm>
#include <utility>

#include "app/gguf_model.h"
#include "core/config/config.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

std::string named_token(const Tokenizer& tokenizer, int64_t id) {
  if (id >= tokenizer.size()) return fmt::format("{}", id);
  return fmt::format("{} {}", id, tokenizer.piece(static_cast<TokenId>(id)));
}

// The file that says whether the tokenizer opens texts with BOS.
std::string convention_origin(const fs::path& home) {
  if (is_gguf_file(home)) {
    return says_add_bos(GgufFile(home)) ? "tokenizer.ggml.add_bos_token of " + home.string()
                                        : "llama.cpp's default, since the file does not say";
  }
  for (const auto& [name, key] : {std::pair{"tokenizer.json", "the post_processor"},
                                  std::pair{"tokenizer_config.json", "add_bos_token"}}) {
    if (fs::exists(home / name)) return fmt::format("{} of {}", key, (home / name).string());
  }
  return "no file says so";
}

std::string describe_bos(const ModelDirectory& m) {
  const bool opens = opens_with_bos(*m.tokenizer, m.prompt.config().bos);
  const bool stored = m.prompt.config().bos != BosRule::kAuto && fs::exists(m.prompt_origin);
  std::string text = opens && m.tokenizer->bos()
                         ? fmt::format("yes, {}", named_token(*m.tokenizer, *m.tokenizer->bos()))
                         : "no";
  text += stored ? fmt::format(" (bos of {})", m.prompt_origin)
                 : fmt::format(" ({})", convention_origin(m.tokenizer_home));
  if (m.prompt.is_chat() && opens && !opens_with_bos(*m.tokenizer, m.prompt))
    text += "; the chat template writes its own";
  return text;
}

std::string end_origin(const ModelDirectory& m, const NamedEosIds& named, int64_t id) {
  if (std::ranges::find(named.ids, id) != named.ids.end()) return named.file.string();
  if (id == m.tokenizer->eos()) return "the tokenizer's end of sequence";
  return "the chat template's end of a turn";
}

}  // namespace

std::string describe_text_rules(const ModelDirectory& m) {
  std::string text = fmt::format("{:<22}{}\n", "opens with BOS", describe_bos(m));
  const NamedEosIds named = read_model_eos_ids(m.adapter ? m.base : m.path);
  const char* label = "ends with";
  for (const int64_t id : m.eos) {
    text += fmt::format("{:<22}{} ({})\n", std::exchange(label, ""), named_token(*m.tokenizer, id),
                        end_origin(m, named, id));
  }
  if (m.eos.empty()) text += fmt::format("{:<22}nothing: no file names an end\n", label);
  return text + fmt::format("{:<22}{}\n", "prompt", m.prompt_origin);
}

}  // namespace continuo
