#include "text/chat_template.h"

#include <algorithm>

#include "core/error.h"
#include "text/jinja_parser.h"

namespace continuo {
namespace {

constexpr const char* kName = "chat_template";
constexpr size_t kNowhere = ~size_t{0};

jinja::Value variable(const std::string& text) {
  if (text == "true" || text == "false") return jinja::Value(text == "true");
  return jinja::Value::text(text);
}

jinja::Value message(const Turn& turn, size_t index) {
  if (turn.role != "system" && turn.role != "user" && turn.role != "assistant") {
    throw Error(fmt::format("unknown role '{}'", turn.role),
                "roles are system, user and assistant");
  }
  using jinja::Value;
  return Value::dict(
      {{Value::text("role"), Value::text(turn.role)},
       {Value::text("content"), Value(jinja::Text(turn.content, static_cast<int32_t>(index)))}});
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
      body_(std::make_shared<const jinja::Body>(jinja::parse(settings_.source, kName))) {
  const Turn probe[] = {{"user", "question"}, {"assistant", "answer"}};
  try {
    const jinja::Text text = render_all(probe, false);
    const size_t at = text.view().rfind("answer");
    if (at == std::string_view::npos) return;
    for (const Special& special : find_specials(text)) {
      if (special.begin <= at) continue;
      end_of_turn_ = text.bytes().substr(special.begin, special.end - special.begin);
      return;
    }
  } catch (const Error&) {
    // A template may refuse this conversation; it says why when it meets a real one.
  }
}

std::vector<Turn> ChatTemplate::with_system(std::span<const Turn> turns) const {
  std::vector<Turn> all(turns.begin(), turns.end());
  const bool opens = !settings_.system.empty() && (all.empty() || all[0].role != "system");
  if (opens) all.insert(all.begin(), {"system", settings_.system});
  return all;
}

jinja::Text ChatTemplate::render(std::span<const Turn> turns, bool generation_prompt) const {
  return render_all(with_system(turns), generation_prompt);
}

jinja::Text ChatTemplate::render_all(std::span<const Turn> turns, bool generation_prompt) const {
  std::vector<jinja::Value> messages;
  for (size_t i = 0; i < turns.size(); ++i) messages.push_back(message(turns[i], i));
  jinja::Variables variables{{"messages", jinja::Value::list(std::move(messages))},
                             {"add_generation_prompt", jinja::Value(generation_prompt)},
                             {"tools", jinja::Value(jinja::None{})},
                             {"documents", jinja::Value(jinja::None{})}};
  std::string today;
  for (const auto& [name, text] : settings_.variables) {
    if (name == "today") today = text;
    variables.emplace_back(name, variable(text));
  }
  return jinja::render(*body_, variables, kName, today);
}

// The longest one at each place, within what the template itself wrote.
std::vector<ChatTemplate::Special> ChatTemplate::find_specials(const jinja::Text& text) const {
  std::vector<Special> found;
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

// Where the answer that follows `before` begins: behind its generation prompt, if that is how the
// text begins. Training passes on what the template raises.
size_t ChatTemplate::answer_begin(const jinja::Text& text, std::span<const Turn> before,
                                  bool training) const {
  try {
    const jinja::Text prompt = render_all(before, true);
    return text.view().starts_with(prompt.view()) ? prompt.size() : kNowhere;
  } catch (const Error&) {
    if (training) throw;
    return kNowhere;
  }
}

ChatTemplate::Answer ChatTemplate::answer(const jinja::Text& text,
                                          std::span<const Special> specials, size_t begin,
                                          int32_t turn, bool ends_turn) const {
  Answer found{begin, begin};
  size_t stop = text.size();  // where another message begins
  size_t at = 0;
  for (const auto& run : text.runs()) {
    if (run.end > begin && run.origin != jinja::kTemplate && run.origin != turn) {
      stop = std::max(at, begin);
      break;
    }
    if (run.end > begin && run.origin == turn) found.end = run.end;
    at = run.end;
  }
  if (!ends_turn) return found;
  for (const Special& special : specials) {
    if (special.begin < found.end) continue;
    if (special.end <= stop) found.end = special.end;
    break;
  }
  return found;
}

std::vector<Segment> ChatTemplate::segments(std::span<const Turn> given,
                                            bool generation_prompt) const {
  const std::vector<Turn> turns = with_system(given);
  const jinja::Text text = render_all(turns, generation_prompt);
  const std::vector<Special> specials = find_specials(text);
  const bool training = !generation_prompt;
  std::vector<Answer> answers;
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].role != "assistant") continue;
    const std::span<const Turn> before = std::span(turns).first(i);
    size_t begin = answer_begin(text, before, training);
    if (!answers.empty() && begin < answers.back().begin) begin = kNowhere;
    if (begin == kNowhere && !training) continue;
    if (begin == kNowhere) {
      throw Error(
          fmt::format("the chat template writes this conversation otherwise than what generation "
                      "starts answer {} from, which ends in \"{}\"",
                      i + 1, tail(render_all(before, true).view())),
          "its generation prompt must be how the text before an answer begins: set chat_variables "
          "(enable_thinking: \"false\"), or give a chat_template of your own");
    }
    const Answer found =
        answer(text, specials, begin, static_cast<int32_t>(i), end_of_turn_.has_value());
    const auto& runs = text.runs();
    const bool shown = std::ranges::any_of(runs, [&](const auto& run) {
      return run.origin == static_cast<int32_t>(i) && run.end > found.begin && run.end <= found.end;
    });
    if (training && !shown && !is_blank(turns[i].content)) {
      throw Error(fmt::format("the chat template leaves out the answer of turn {}", i + 1));
    }
    if (!answers.empty()) answers.back().end = std::min(answers.back().end, begin);
    answers.push_back(found);
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
  for (const Answer& each : answers) {
    const bool runs_on = !result.empty() && result.back().trained && each.begin == at;
    put(each.begin, false);
    if (runs_on) result.push_back({"", false, false});
    if (each.begin == each.end) result.push_back({"", true, false});
    put(each.end, true);
  }
  put(text.size(), false);
  return result;
}

std::vector<Segment> ChatTemplate::training(std::span<const Turn> turns) const {
  return segments(turns, false);
}

std::vector<Segment> ChatTemplate::generation(std::span<const Turn> turns) const {
  std::vector<Segment> result = segments(turns, true);
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
