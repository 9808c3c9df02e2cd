#include "text/prompt/prompt_template.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "core/files.h"
#include "core/hash.h"
#include "text/prompt/chat_presets.h"
#include "text/prompt/chat_template.h"

namespace continuo {
namespace {

using PartKind = FormatPart::Kind;

// Neighbouring text of one kind is one segment, so that it is tokenized together.
void add_segment(Segment segment, std::vector<Segment>& segments) {
  bool joins = !segments.empty() && !segment.special && !segments.back().special &&
               segments.back().trained == segment.trained;
  if (joins) {
    segments.back().text += segment.text;
  } else {
    segments.push_back(std::move(segment));
  }
}

const std::string& value_of(const Fields& fields, const std::string& name) {
  auto found = fields.find(name);
  if (found != fields.end()) return found->second;
  std::vector<std::string> present;
  for (const auto& [key, value] : fields) present.push_back(key);
  throw Error(
      fmt::format("field '{}' is missing", name),
      fmt::format("the prompt template names it; the record has: {}", fmt::join(present, ", ")));
}

void fill(std::span<const FormatPart> parts, const Fields& fields, bool trained,
          std::vector<Segment>& segments) {
  for (const FormatPart& part : parts) {
    const std::string& text =
        part.kind == PartKind::kField ? value_of(fields, part.text) : part.text;
    add_segment({text, trained, part.kind == PartKind::kSpecial}, segments);
  }
}

// A turn of a conversation, without specials.
std::string filled(std::span<const FormatPart> parts, const Fields& fields) {
  std::string text;
  for (const FormatPart& part : parts) {
    text += part.kind == PartKind::kField ? value_of(fields, part.text) : part.text;
  }
  return text;
}

// A run is there even when it has no text.
void fill_run(std::span<const FormatPart> parts, const Fields& fields, bool trained,
              std::vector<Segment>& segments) {
  if (segments.empty() || segments.back().trained != trained)
    segments.push_back({"", trained, false});
  fill(parts, fields, trained, segments);
}

// An empty placeholder that specials followed says nothing.
void drop_placeholders(std::vector<Segment>& segments) {
  for (size_t i = 0; i + 1 < segments.size();) {
    bool idle = segments[i].text.empty() && !segments[i].special &&
                segments[i].trained == segments[i + 1].trained;
    if (idle) {
      segments.erase(segments.begin() + static_cast<ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
}

std::vector<FormatPart> parse_role(const std::string& format, std::span<const std::string> specials,
                                   std::string_view key) {
  std::vector<FormatPart> parts = parse_format(format, specials, key);
  auto is_field = [](const FormatPart& part) { return part.kind == PartKind::kField; };
  if (std::ranges::count_if(parts, is_field) != 1 ||
      field_names(parts) != std::vector<std::string>{"content"}) {
    throw Error(
        fmt::format("{}: must hold {{content}} once and no other field: \"{}\"", key, format));
  }
  return parts;
}

void format_fields(FieldVisitor& v, PromptConfig& c) {
  v.field("prompt", c.prompt,
          "Text before the completion; {name} is a field of the record, {{ a brace.");
  v.field("completion", c.completion,
          "Trained text. \"{text}\" with an empty prompt is plain text.");
  v.field("system", c.system, "Conversations: a system turn; {content} is its text.");
  v.field("user", c.user, "Conversations: a user turn.");
  v.field("assistant", c.assistant,
          "Conversations: an answer; trained from {content} on, followed by end-of-sequence.");
  v.field("specials", c.specials,
          "Special tokens of the vocabulary that the formats name (\"<|user|>\").");
  v.field("bos", c.bos,
          "Documents open with the beginning-of-sequence id; auto: as the model's files say.");
}

bool has_chat_keys(const PromptConfig& c) {
  return !c.chat.empty() || !c.chat_template.empty() || !c.default_system.empty() ||
         !c.chat_variables.empty();
}

// A template without chat keys is written and hashed without them.
struct FormatsOnly {
  PromptConfig config;
};
void fields(FieldVisitor& v, FormatsOnly& c) { format_fields(v, c.config); }

std::string dump_prompt(const PromptConfig& config) {
  return has_chat_keys(config) ? dump_config(config) : dump_config(FormatsOnly{config});
}

constexpr EnumName kBosRules[] = {{"auto", static_cast<int>(BosRule::kAuto)},
                                  {"true", static_cast<int>(BosRule::kTrue)},
                                  {"false", static_cast<int>(BosRule::kFalse)}};

}  // namespace

std::span<const EnumName> enum_names(BosRule) { return kBosRules; }

void fields(FieldVisitor& v, PromptConfig& c) {
  format_fields(v, c);
  static const std::string chat_help =
      fmt::format("Chat template: {}; plain: none; base: that of model.from.", chat_preset_names());
  v.field("chat", c.chat, chat_help);
  v.field("chat_template", c.chat_template,
          "Chat template as Jinja source; prompt is then the user's turn, completion the answer.");
  v.field("default_system", c.default_system,
          "Chat template: the system turn of conversations that have none.");
  v.field("chat_variables", c.chat_variables,
          "Chat template: more variables (enable_thinking: \"false\"); today: the date it is.");
}

PromptTemplate::PromptTemplate(PromptConfig config) : config_(std::move(config)) {
  if (std::ranges::find(config_.specials, "") != config_.specials.end())
    fail("specials: one is empty");
  prompt_ = parse_format(config_.prompt, config_.specials, "prompt");
  completion_ = parse_format(config_.completion, config_.specials, "completion");
  system_ = parse_role(config_.system, config_.specials, "system");
  user_ = parse_role(config_.user, config_.specials, "user");
  answer_ = parse_role(config_.assistant, config_.specials, "assistant");
  auto content = std::ranges::find(answer_, PartKind::kField, &FormatPart::kind);
  answer_header_.assign(answer_.begin(), content);
  answer_.erase(answer_.begin(), content);
  prompt_fields_ = field_names(prompt_);
  completion_fields_ = field_names(completion_);
  if (completion_fields_.empty()) fail("completion: names no field: \"{}\"", config_.completion);
  const bool plain = config_.chat == kPlainChat;
  const bool named = !config_.chat.empty() && !plain;
  if (named && config_.chat != kBaseChat) find_chat_preset(config_.chat);
  if (!config_.chat.empty() && !config_.chat_template.empty()) {
    fail("chat and chat_template are both given; one of them says all");
  }
  if (!named && config_.chat_template.empty()) {
    if (!config_.default_system.empty() || !config_.chat_variables.empty()) {
      throw Error("default_system and chat_variables belong to a chat template",
                  fmt::format("chat: one of {}", chat_preset_names()));
    }
    return;
  }
  if (prompt_fields_.empty()) {
    throw Error(fmt::format("prompt: names no field: \"{}\"", config_.prompt),
                "with a chat template it is the user's turn; {prompt} by default");
  }
  std::string source = config_.chat_template;
  if (named && config_.chat != kBaseChat) source = find_chat_preset(config_.chat).source;
  chat_ = std::make_shared<const ChatTemplate>(ChatSettings{.source = std::move(source),
                                                            .system = config_.default_system,
                                                            .variables = config_.chat_variables,
                                                            .specials = config_.specials});
}

PromptTemplate PromptTemplate::with_bos(BosRule bos) const {
  PromptConfig config = config_;
  config.bos = bos;
  return PromptTemplate(std::move(config));
}

PromptTemplate PromptTemplate::raw() const {
  return PromptTemplate(PromptConfig{.prompt = "", .completion = "{text}", .bos = config_.bos});
}

PromptTemplate PromptTemplate::bound_to(const Tokenizer& tokenizer) const {
  if (!is_chat()) {
    return with_bos(opens_with_bos(tokenizer, *this) ? BosRule::kTrue : BosRule::kFalse);
  }
  if (config_.chat == kBaseChat) {
    throw Error("chat: base stands for the chat template of a base model, and there is none",
                "set model.from, or name a template");
  }
  PromptConfig config = config_;
  std::vector<std::string> needed = config.specials;
  if (!config.chat.empty()) {
    const ChatPreset& preset = find_chat_preset(config.chat);
    config.chat_template = preset.source;
    for (size_t at = 0; at < preset.specials.size();) {
      const size_t end = std::min(preset.specials.find(' ', at), preset.specials.size());
      needed.emplace_back(preset.specials.substr(at, end - at));
      at = end + 1;
    }
  }
  for (const std::string& piece : needed) {
    const auto id = tokenizer.find(piece);
    if (id && tokenizer.is_special(*id)) continue;
    const std::string which = config.chat.empty() ? "" : fmt::format(" '{}'", config.chat);
    throw Error(fmt::format("the chat template{} needs the special token '{}', which is not {} of "
                            "the tokenizer",
                            which, piece, id ? "a special token" : "in the vocabulary"),
                "train the tokenizer with it in `specials`, or choose another template");
  }
  config.chat.clear();
  const auto named = [&](const char* name, std::optional<TokenId> id) {
    if (id) config.chat_variables.emplace(name, tokenizer.piece(*id));
  };
  named("bos_token", tokenizer.bos());
  named("eos_token", tokenizer.eos());
  named("pad_token", tokenizer.pad());
  std::vector<std::string> pieces;
  for (TokenId id = 0; id < tokenizer.size(); ++id) {
    if (tokenizer.is_special(id)) pieces.push_back(tokenizer.piece(id));
  }
  config.specials = needed;
  for (std::string& piece : PromptTemplate(config).chat_->spelled(pieces)) {
    if (std::ranges::find(config.specials, piece) == config.specials.end()) {
      config.specials.push_back(std::move(piece));
    }
  }
  return PromptTemplate(std::move(config));
}

std::optional<std::string> PromptTemplate::end_of_turn() const {
  return chat_ ? chat_->end_of_turn() : std::nullopt;
}

std::string PromptTemplate::exported_chat_template() const {
  return chat_ ? chat_->standalone() : std::string();
}

std::vector<Segment> PromptTemplate::render(const Fields& fields) const {
  if (chat_) {
    const Turn turns[] = {{"user", filled(prompt_, fields)},
                          {"assistant", filled(completion_, fields)}};
    return chat_->training(turns);
  }
  std::vector<Segment> segments = render_prompt(fields);
  fill_run(completion_, fields, true, segments);
  drop_placeholders(segments);
  return segments;
}

std::vector<Segment> PromptTemplate::render_prompt(const Fields& fields) const {
  if (chat_) {
    const Turn turns[] = {{"user", filled(prompt_, fields)}};
    return chat_->generation(turns);
  }
  std::vector<Segment> segments;
  fill(prompt_, fields, false, segments);
  std::erase_if(segments, [](const Segment& segment) { return segment.text.empty(); });
  return segments;
}

std::vector<Segment> PromptTemplate::render_prompt(const std::string& text) const {
  if (prompt_fields_.size() > 1) {
    throw Error(fmt::format("the prompt template has {} fields ({}), so one text cannot fill it",
                            prompt_fields_.size(), fmt::join(prompt_fields_, ", ")),
                "give a JSON record with these fields");
  }
  if (prompt_fields_.size() == 1) return render_prompt(Fields{{prompt_fields_[0], text}});
  std::vector<Segment> segments = render_prompt(Fields{});
  auto first = std::ranges::find(completion_, PartKind::kField, &FormatPart::kind);
  fill({completion_.begin(), first}, {}, false, segments);
  if (!text.empty()) add_segment({text, false, false}, segments);
  return segments;
}

void PromptTemplate::add_turn(const Turn& turn, std::vector<Segment>& segments) const {
  const Fields content{{"content", turn.content}};
  if (turn.role == "system") {
    fill_run(system_, content, false, segments);
  } else if (turn.role == "user") {
    fill_run(user_, content, false, segments);
  } else if (turn.role == "assistant") {
    fill_run(answer_header_, content, false, segments);
    fill_run(answer_, content, true, segments);
  } else {
    throw Error(fmt::format("unknown role '{}'", turn.role),
                "roles are system, user and assistant; a chat template may know more");
  }
}

std::vector<Segment> PromptTemplate::render(std::span<const Turn> turns,
                                            std::string_view tools) const {
  if (chat_) return chat_->training(turns, tools);
  std::vector<Segment> segments;
  for (const Turn& turn : turns) add_turn(turn, segments);
  drop_placeholders(segments);
  return segments;
}

std::vector<Segment> PromptTemplate::render_prompt(std::span<const Turn> turns,
                                                   std::string_view tools) const {
  if (!turns.empty() && turns.back().role == "assistant") turns = turns.first(turns.size() - 1);
  if (chat_) return chat_->generation(turns, tools);
  std::vector<Segment> segments;
  for (const Turn& turn : turns) add_turn(turn, segments);
  fill_run(answer_header_, {}, false, segments);
  drop_placeholders(segments);
  return segments;
}

std::string PromptTemplate::hash() const { return hash_bytes(dump_prompt(config_)); }

void PromptTemplate::save(const std::filesystem::path& file) const {
  atomic_write(file, dump_prompt(config_));
}

PromptTemplate PromptTemplate::load(const std::filesystem::path& file) {
  PromptConfig config;
  Problems problems;
  load_config(load_yaml(file), config, problems);
  problems.raise();
  return PromptTemplate(std::move(config));
}

}  // namespace continuo
