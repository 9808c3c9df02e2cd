#include "text/prompt/chat_template.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "core/error.h"
#include "text/jinja/parser.h"

namespace continuo {
namespace {

constexpr const char* kName = "chat_template";
constexpr size_t kNowhere = ~size_t{0};
constexpr int32_t kToolList = -2;  // an origin beside the template's and the messages'
constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};

jinja::Value variable(const std::string& text) {
  if (text == "true" || text == "false") return jinja::Value(text == "true");
  return jinja::Value::text(text);
}

// A message with what it says of its reasoning under the names that templates read, as transformers
// hands it over.
jinja::Value with_reasoning(std::vector<std::pair<jinja::Value, jinja::Value>> fields) {
  using jinja::Value;
  const Value message = Value::dict(fields);
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const Value* reasoning = message.if_dict()->find(name);
    if (!reasoning) continue;
    fields.emplace(fields.begin(), Value::text("thinking"), *reasoning);
    fields.emplace_back(Value::text("reasoning_content"), *reasoning);
    return Value::dict(std::move(fields));
  }
  return message;
}

// Whatever comes from the row is text of the message, apart from the role.
jinja::Value message_of(const Turn& turn, size_t index) {
  if (std::ranges::find(kRoles, turn.role) == std::end(kRoles)) {
    throw Error(fmt::format("unknown role '{}'", turn.role),
                fmt::format("roles are {}", fmt::join(kRoles, ", ")));
  }
  using jinja::Value;
  const auto origin = static_cast<int32_t>(index);
  const Value role = Value::text(turn.role);
  if (turn.message.empty()) {
    return Value::dict({{Value::text("role"), role},
                        {Value::text("content"), Value(jinja::Text(turn.content, origin))}});
  }
  const Value given = jinja::from_json(turn.message, origin);
  if (!given.if_dict()) fail("a message is a {}, not an object", given.type_name());
  std::vector<std::pair<Value, Value>> fields;
  for (const auto& [key, value] : given.if_dict()->items) {
    const bool names_role = key.if_text()->view() == "role";
    if (!value.none()) fields.emplace_back(key, names_role ? role : value);
  }
  return with_reasoning(std::move(fields));
}

// The names of the tools that a message calls.
std::vector<std::string> called_tools(const jinja::Value& message) {
  std::vector<std::string> names;
  const jinja::Value* calls = message.if_dict()->find("tool_calls");
  if (!calls || !calls->if_list()) return names;
  for (const jinja::Value& call : calls->if_list()->items) {
    const jinja::Dict* dict = call.if_dict();
    const jinja::Value* function = dict ? dict->find("function") : nullptr;
    if (function && function->if_dict()) dict = function->if_dict();
    const jinja::Value* name = dict ? dict->find("name") : nullptr;
    if (name && name->if_text()) names.push_back(name->if_text()->bytes());
  }
  return names;
}

// The first tool that a message calls and the text does not name.
std::optional<std::string> unnamed_tool(const jinja::Value& message, std::string_view text) {
  for (std::string& tool : called_tools(message)) {
    if (text.find(tool) == std::string_view::npos) return std::move(tool);
  }
  return std::nullopt;
}

bool has_generation(const jinja::Body& body) {
  return std::ranges::any_of(body, [](const jinja::Statement& statement) {
    return statement.kind == jinja::StatementKind::kGeneration ||
           std::ranges::any_of(statement.bodies, has_generation);
  });
}

bool is_blank(std::string_view text) {
  const auto bounds = jinja::strip_bounds(text, true, false, nullptr);
  return bounds.begin == text.size();
}

// The end of a text, for messages.
std::string tail(std::string_view text) {
  constexpr size_t kShown = 60;
  std::string end(text.size() > kShown ? text.substr(text.size() - kShown) : text);
  while (!end.empty() && (static_cast<unsigned char>(end[0]) & 0xC0) == 0x80) end.erase(0, 1);
  return end;
}

// A string of Jinja that stands for `text`.
std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : std::string(1, c);
  }
  return out + "\"";
}

void add(std::string_view text, bool trained, bool special, std::vector<Segment>& segments) {
  if (text.empty()) return;
  const bool joins = !segments.empty() && !special && !segments.back().special &&
                     segments.back().trained == trained;
  if (joins) {
    segments.back().text += text;
  } else {
    segments.push_back({std::string(text), trained, special});
  }
}

}  // namespace

ChatTemplate::ChatTemplate(ChatSettings settings)
    : settings_(std::move(settings)),
      body_(std::make_shared<const jinja::Body>(jinja::parse(settings_.source, kName))),
      marks_answers_(has_generation(*body_)) {
  const Turn probe[] = {{"user", "question"}, {"assistant", "answer"}};
  try {
    const Scene scene{{probe[0], probe[1]},
                      {message_of(probe[0], 0), message_of(probe[1], 1)},
                      jinja::Value(jinja::None{})};
    const jinja::Text text = render_all(scene, 2, false);
    const size_t at = text.view().rfind("answer");
    if (at == std::string_view::npos) return;
    for (const Range& special : find_specials(text)) {
      if (special.begin <= at) continue;
      end_of_turn_ = text.bytes().substr(special.begin, special.end - special.begin);
      return;
    }
  } catch (const Error&) {
    // A template may refuse this conversation; it says why when it meets a real one.
  }
}

ChatTemplate::Scene ChatTemplate::scene_of(std::span<const Turn> turns,
                                           std::string_view tools) const {
  Scene scene{{turns.begin(), turns.end()}, {}, jinja::Value(jinja::None{})};
  const bool opened = !turns.empty() && (turns[0].role == "system" || turns[0].role == "developer");
  if (!settings_.system.empty() && !opened)
    scene.turns.insert(scene.turns.begin(), {"system", settings_.system});
  for (size_t i = 0; i < scene.turns.size(); ++i) {
    scene.messages.push_back(message_of(scene.turns[i], i));
  }
  if (!tools.empty()) scene.tools = jinja::from_json(tools, kToolList);
  return scene;
}

jinja::Text ChatTemplate::render(std::span<const Turn> turns, bool generation_prompt,
                                 std::string_view tools) const {
  const Scene scene = scene_of(turns, tools);
  return render_all(scene, scene.messages.size(), generation_prompt);
}

jinja::Text ChatTemplate::render_all(const Scene& scene, size_t count,
                                     bool generation_prompt) const {
  std::vector<jinja::Value> messages(scene.messages.begin(),
                                     scene.messages.begin() + static_cast<ptrdiff_t>(count));
  jinja::Variables variables{{"messages", jinja::Value::list(std::move(messages))},
                             {"add_generation_prompt", jinja::Value(generation_prompt)},
                             {"tools", scene.tools},
                             {"documents", jinja::Value(jinja::None{})}};
  std::string today;
  for (const auto& [name, text] : settings_.variables) {
    if (name == "today") today = text;
    variables.emplace_back(name, variable(text));
  }
  return jinja::render(*body_, variables, kName, today);
}

// The longest one at each place, within what the template itself wrote.
std::vector<ChatTemplate::Range> ChatTemplate::find_specials(const jinja::Text& text) const {
  std::vector<Range> found;
  size_t begin = 0;
  for (const auto& run : text.runs()) {
    const std::string_view own = text.view().substr(0, run.end);
    for (size_t at = begin; run.origin == jinja::kTemplate && at < run.end;) {
      size_t longest = 0;
      for (const std::string& piece : settings_.specials) {
        if (piece.size() > longest && own.substr(at).starts_with(piece)) longest = piece.size();
      }
      if (longest > 0) found.push_back({at, at + longest});
      at += std::max<size_t>(longest, 1);
    }
    begin = run.end;
  }
  return found;
}

// Where the answer of a turn begins: behind its generation prompt, if that is how the text begins.
// Training passes on what the template raises.
size_t ChatTemplate::answer_begin(const jinja::Text& text, const Scene& scene, size_t turn,
                                  bool training) const {
  try {
    const jinja::Text prompt = render_all(scene, turn, true);
    if (text.view().starts_with(prompt.view())) return prompt.size();
    if (!training) return kNowhere;
    throw Error(
        fmt::format("the chat template writes this conversation otherwise than what generation "
                    "starts answer {} from, which ends in \"{}\"",
                    turn + 1, tail(prompt.view())),
        "its generation prompt must be how the text before an answer begins: set chat_variables "
        "(enable_thinking: \"false\"), or give a chat_template of your own");
  } catch (const Error&) {
    if (training) throw;
    return kNowhere;
  }
}

// Where the calls of a turn end at the latest: as far as the text is what the conversation gives
// when it ends with them. Behind that, what a tool gave may stand beside the name of the tool.
size_t ChatTemplate::calls_end(const jinja::Text& text, const Scene& scene, size_t turn,
                               size_t begin) const {
  try {
    const jinja::Text alone = render_all(scene, turn + 1, false);
    const auto differs = std::ranges::mismatch(alone.view(), text.view());
    const auto end = static_cast<size_t>(differs.in1 - alone.view().begin());
    const std::string_view alike = text.view().substr(0, std::max(begin, end)).substr(begin);
    return unnamed_tool(scene.messages[turn], alike) ? text.size() : end;
  } catch (const Error&) {
    return text.size();  // a template may refuse a conversation that ends in a call
  }
}

ChatTemplate::Range ChatTemplate::answer(const jinja::Text& text, std::span<const Range> specials,
                                         const Scene& scene, size_t turn, size_t begin) const {
  const bool calls = scene.turns[turn].calls_tools;
  const size_t latest = calls ? calls_end(text, scene, turn, begin) : text.size();
  Range found{begin, begin};
  size_t stop = text.size();  // where another message begins
  size_t at = 0;
  for (const auto& run : text.runs()) {
    const bool own = run.origin == static_cast<int32_t>(turn);
    const bool anothers = run.origin != jinja::kTemplate && !own;
    if (run.end > begin && (anothers || (own && run.end > latest && found.end > begin))) {
      stop = std::max(at, begin);
      break;
    }
    if (run.end > begin && own) found.end = run.end;
    at = run.end;
  }
  if (!end_of_turn_) return found;
  if (latest > found.end) stop = std::min(stop, latest);
  return {begin, turn_end(text, specials, {found.end, stop}, calls)};
}

// Behind the special between a turn's last own text and what follows that ends the turn: the usual
// one, else the first, else (behind a call, whose form may use some itself) the last.
size_t ChatTemplate::turn_end(const jinja::Text& text, std::span<const Range> specials,
                              Range between, bool calls) const {
  size_t end = between.begin;
  for (const Range& special : specials) {
    if (special.begin < between.begin || special.end > between.end) continue;
    const size_t size = special.end - special.begin;
    if (text.view().substr(special.begin, size) == *end_of_turn_) return special.end;
    if (calls || end == between.begin) end = special.end;
  }
  return end;
}

// What {% generation %} marks of an answer. Its beginning stays one of a run, so that its prompt is
// tokenized as generation does it; its end stays trained where no special marked before it ends the
// answer, because something has to teach where to stop.
std::vector<ChatTemplate::Range> ChatTemplate::marked_parts(const jinja::Text& text,
                                                            std::span<const Range> specials,
                                                            Range answer) const {
  std::vector<Range> parts;
  const auto add_part = [&](size_t begin, size_t end) {
    if (begin >= end) return;
    if (!parts.empty() && parts.back().end == begin) {
      parts.back().end = end;
    } else {
      parts.push_back({begin, end});
    }
  };
  size_t at = 0;
  for (const auto& run : text.runs()) {
    if (run.generated) add_part(std::max(at, answer.begin), std::min(run.end, answer.end));
    at = run.end;
  }
  if (parts.empty()) return parts;
  const auto last = std::ranges::find(specials, answer.end, &Range::end);
  const bool ended = std::ranges::find(specials, parts.back().end, &Range::end) != specials.end();
  if (!ended && last != specials.end()) add_part(last->begin, last->end);
  if (parts.front().begin > answer.begin) {
    parts.insert(parts.begin(), {answer.begin, answer.begin});
  }
  return parts;
}

// Error: the text lacks what the answer says.
void ChatTemplate::check_shown(const jinja::Text& text, Range answer, const Scene& scene,
                               size_t turn) const {
  const bool shown = std::ranges::any_of(text.runs(), [&](const auto& run) {
    return run.origin == static_cast<int32_t>(turn) && run.end > answer.begin &&
           run.end <= answer.end;
  });
  if (!shown && !is_blank(scene.turns[turn].content)) {
    throw Error(fmt::format("the chat template leaves out the answer of turn {}", turn + 1));
  }
  const std::string_view written = text.view().substr(answer.begin, answer.end - answer.begin);
  if (const auto tool = unnamed_tool(scene.messages[turn], written)) {
    throw Error(
        fmt::format("the chat template leaves out the call of '{}' in turn {}", *tool, turn + 1),
        "it knows no tool_calls: take a template that writes them");
  }
}

std::vector<Segment> ChatTemplate::segments(const Scene& scene, bool generation_prompt) const {
  const jinja::Text text = render_all(scene, scene.messages.size(), generation_prompt);
  const std::vector<Range> specials = find_specials(text);
  const bool training = !generation_prompt;
  std::vector<Range> answers;
  for (size_t i = 0; i < scene.turns.size(); ++i) {
    if (scene.turns[i].role != "assistant") continue;
    const size_t begin = answer_begin(text, scene, i, training);
    if (begin == kNowhere) continue;
    if (!answers.empty() && begin < answers.back().begin) {
      if (training) fail("the chat template writes answer {} before an earlier one", i + 1);
      continue;
    }
    const Range found = answer(text, specials, scene, i, begin);
    if (training) check_shown(text, found, scene, i);
    if (!answers.empty()) answers.back().end = std::min(answers.back().end, begin);
    answers.push_back(found);
  }

  if (marks_answers_) {
    std::vector<Range> parts;
    for (const Range& each : answers) {
      for (const Range& part : marked_parts(text, specials, each)) parts.push_back(part);
    }
    answers = std::move(parts);
  }

  std::vector<Segment> result;
  size_t at = 0, next = 0;
  const auto put = [&](size_t end, bool trained) {
    for (; next < specials.size() && specials[next].end <= end; ++next) {
      const auto [first, last] = specials[next];
      if (first < at) continue;
      add(text.view().substr(at, first - at), trained, false, result);
      add(text.view().substr(first, last - first), trained, true, result);
      at = last;
    }
    add(text.view().substr(at, end - at), trained, false, result);
    at = end;
  };
  for (const Range& each : answers) {
    const bool runs_on = !result.empty() && result.back().trained && each.begin == at;
    put(each.begin, false);
    if (runs_on) result.push_back({"", false, false});
    if (each.begin == each.end) result.push_back({"", true, false});
    put(each.end, true);
  }
  put(text.size(), false);
  return result;
}

std::vector<Segment> ChatTemplate::training(std::span<const Turn> turns,
                                            std::string_view tools) const {
  return segments(scene_of(turns, tools), false);
}

std::vector<Segment> ChatTemplate::generation(std::span<const Turn> turns,
                                              std::string_view tools) const {
  std::vector<Segment> result = segments(scene_of(turns, tools), true);
  if (!result.empty() && result.back().trained) result.push_back({"", false, false});
  return result;
}

std::vector<std::string> ChatTemplate::spelled(std::span<const std::string> pieces) const {
  std::string text = settings_.source;
  for (const auto& [name, value] : settings_.variables) text += "\n" + value;
  const Turn probe[] = {{"system", "s"}, {"user", "q"}, {"assistant", "a"}, {"user", "q"}};
  for (const size_t first : {0, 1}) {
    try {
      text += "\n" + render(std::span<const Turn>(probe).subspan(first), true).bytes();
    } catch (const Error&) {
      // Not every template takes a system turn.
    }
  }
  std::vector<std::string> found;
  for (const std::string& piece : pieces) {
    if (!piece.empty() && text.find(piece) != std::string::npos) found.push_back(piece);
  }
  return found;
}

std::string ChatTemplate::standalone() const {
  std::string source;
  for (const auto& [name, value] : settings_.variables) {
    if (name.ends_with("_token") || name == "today") continue;  // the tokenizer's own
    const bool truth = value == "true" || value == "false";
    source += fmt::format("{{%- set {} = {} -%}}\n", name, truth ? value : in_quotes(value));
  }
  if (!settings_.system.empty()) {
    source += fmt::format(
        "{{%- if not messages or messages[0]['role'] != 'system' -%}}\n"
        "{{%- set messages = [{{'role': 'system', 'content': {}}}] + messages -%}}\n"
        "{{%- endif -%}}\n",
        in_quotes(settings_.system));
  }
  return source + settings_.source;
}

}  // namespace continuo
