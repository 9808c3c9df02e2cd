#include "text/prompt_template.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "core/files.h"
#include "core/hash.h"

namespace continuo {
namespace {

using Kind = FormatPart::Kind;

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
    const std::string& text = part.kind == Kind::kField ? value_of(fields, part.text) : part.text;
    add_segment({text, trained, part.kind == Kind::kSpecial}, segments);
  }
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
  auto is_field = [](const FormatPart& part) { return part.kind == Kind::kField; };
  if (std::ranges::count_if(parts, is_field) != 1 ||
      field_names(parts) != std::vector<std::string>{"content"}) {
    throw Error(
        fmt::format("{}: must hold {{content}} once and no other field: \"{}\"", key, format));
  }
  return parts;
}

}  // namespace

void fields(FieldVisitor& v, PromptConfig& c) {
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
  v.field("bos", c.bos, "Open every document with the beginning-of-sequence id.");
}

PromptTemplate::PromptTemplate(PromptConfig config) : config_(std::move(config)) {
  if (std::ranges::find(config_.specials, "") != config_.specials.end())
    fail("specials: one is empty");
  prompt_ = parse_format(config_.prompt, config_.specials, "prompt");
  completion_ = parse_format(config_.completion, config_.specials, "completion");
  system_ = parse_role(config_.system, config_.specials, "system");
  user_ = parse_role(config_.user, config_.specials, "user");
  answer_ = parse_role(config_.assistant, config_.specials, "assistant");
  auto content = std::ranges::find(answer_, Kind::kField, &FormatPart::kind);
  answer_header_.assign(answer_.begin(), content);
  answer_.erase(answer_.begin(), content);
  prompt_fields_ = field_names(prompt_);
  completion_fields_ = field_names(completion_);
  if (completion_fields_.empty()) fail("completion: names no field: \"{}\"", config_.completion);
}

std::vector<Segment> PromptTemplate::render(const Fields& fields) const {
  std::vector<Segment> segments = render_prompt(fields);
  fill_run(completion_, fields, true, segments);
  drop_placeholders(segments);
  return segments;
}

std::vector<Segment> PromptTemplate::render_prompt(const Fields& fields) const {
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
  auto first = std::ranges::find(completion_, Kind::kField, &FormatPart::kind);
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
                "roles are system, user and assistant");
  }
}

std::vector<Segment> PromptTemplate::render(std::span<const Turn> turns) const {
  std::vector<Segment> segments;
  for (const Turn& turn : turns) add_turn(turn, segments);
  drop_placeholders(segments);
  return segments;
}

std::vector<Segment> PromptTemplate::render_prompt(std::span<const Turn> turns) const {
  if (!turns.empty() && turns.back().role == "assistant") turns = turns.first(turns.size() - 1);
  std::vector<Segment> segments;
  for (const Turn& turn : turns) add_turn(turn, segments);
  fill_run(answer_header_, {}, false, segments);
  drop_placeholders(segments);
  return segments;
}

std::string PromptTemplate::hash() const { return hash_bytes(dump_config(config_)); }

void PromptTemplate::save(const std::filesystem::path& file) const {
  atomic_write(file, dump_config(config_));
}

PromptTemplate PromptTemplate::load(const std::filesystem::path& file) {
  PromptConfig config;
  Problems problems;
  load_config(load_yaml(file), config, problems);
  problems.raise();
  return PromptTemplate(std::move(config));
}

}  // namespace continuo
