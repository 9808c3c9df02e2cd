#include "cli/session.h"

#include <algorithm>
#include <limits>

#include <fmt/ranges.h>

#include "core/suggest.h"

namespace continuo {
namespace {

// In angle brackets: must be given; in square ones: may be.
constexpr CommandHelp kCommands[] = {
    {"set", "[key=value …]", "change settings or sampler stages; without one: show all"},
    {"show", "", "settings, the resolved sampler, and figures of the last answer"},
    {"regen", "", "answer the last prompt again with the next seed"},
    {"undo", "", "forget the last prompt and answer"},
    {"chat", "[on|off]", "on: earlier turns are part of the prompt; off: each input by itself"},
    {"save", "<file>", "write prompts, answers and settings as JSON"},
    {"load", "<file>", "go on from a saved file"},
    {"help", "", "this list"},
    {"quit", "", "leave (so does Ctrl-D)"},
};

constexpr std::string_view kFence = R"(""")";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

}  // namespace

std::span<const CommandHelp> session_commands() { return kCommands; }

std::optional<SessionCommand> parse_command(std::string_view input) {
  if (!input.starts_with('/') || input.starts_with("//")) return std::nullopt;
  if (input.find('\n') != std::string_view::npos) return std::nullopt;
  const size_t end = std::min(input.find_first_of(" \t"), input.size());
  SessionCommand command{std::string(input.substr(1, end - 1)),
                         std::string(trimmed(input.substr(end)))};
  const auto* known = std::ranges::find(kCommands, command.name, &CommandHelp::name);
  if (known == std::end(kCommands)) {
    std::vector<std::string> names;
    for (const CommandHelp& each : kCommands) names.emplace_back(each.name);
    const auto close = closest_name(command.name, names);
    throw Error(fmt::format("unknown command /{}", command.name),
                close ? fmt::format("did you mean /{}?", *close)
                      : "/help lists all; begin with // for a text that begins with /");
  }
  if (known->argument.empty() && !command.argument.empty()) {
    throw Error(fmt::format("/{} takes no argument", command.name));
  }
  if (known->argument.starts_with('<') && command.argument.empty()) {
    throw Error(
        fmt::format("/{} needs an argument: /{} {}", command.name, command.name, known->argument));
  }
  return command;
}

std::optional<InputAssembler::Input> InputAssembler::push(std::string_view line) {
  const auto finish = [&](bool block) {
    Input input{fmt::format("{}", fmt::join(lines_, "\n")), block};
    clear();
    return input;
  };
  if (!in_block_ && lines_.empty() && line.starts_with(kFence)) {
    in_block_ = true;
    line.remove_prefix(kFence.size());
    if (line.empty()) return std::nullopt;
  }
  if (in_block_) {
    const bool closes = line.ends_with(kFence);
    if (closes) line.remove_suffix(kFence.size());
    // A fence on a line of its own adds no line.
    if (!closes || !line.empty()) lines_.emplace_back(line);
    if (!closes) return std::nullopt;
    return finish(true);
  }
  if (line.ends_with('\\')) {
    lines_.emplace_back(line.substr(0, line.size() - 1));
    return std::nullopt;
  }
  lines_.emplace_back(line);
  return finish(false);
}

void InputAssembler::clear() {
  in_block_ = false;
  lines_.clear();
}

PromptInput Session::input_for(const std::string& text, bool chat, size_t end) const {
  if (!chat) return {text, {}};
  const auto& exchanges = transcript_.exchanges;
  size_t begin = end;
  while (begin > 0 && exchanges[begin - 1].chat) --begin;
  std::vector<Turn> turns;
  for (size_t i = begin; i < end; ++i) {
    turns.push_back({"user", exchanges[i].prompt});
    turns.push_back(
        {"assistant", exchanges[i].answers.empty() ? "" : exchanges[i].answers.front()});
  }
  turns.push_back({"user", text});
  return {Conversation{std::move(turns)}, {}};
}

Session::Request Session::ask(std::string text) const {
  Request request;
  request.input = input_for(text, chat(), transcript_.exchanges.size());
  request.settings = settings();
  request.exchange.prompt = std::move(text);
  request.exchange.seed = settings().seed;
  request.exchange.chat = chat();
  return request;
}

Session::Request Session::regenerate() const {
  if (transcript_.exchanges.empty()) throw Error("nothing was asked yet");
  Request request;
  const Exchange& last = transcript_.exchanges.back();
  request.input = input_for(last.prompt, last.chat, transcript_.exchanges.size() - 1);
  request.settings = settings();
  // The seed after the largest is 0.
  const int64_t seed = last.seed == std::numeric_limits<int64_t>::max() ? 0 : last.seed + 1;
  request.settings.seed = seed;
  request.exchange = {
      .prompt = last.prompt, .answers = {}, .finish_reason = {}, .seed = seed, .chat = last.chat};
  request.replaces = true;
  return request;
}

void Session::answered(Request request, std::vector<std::string> answers,
                       std::string finish_reason) {
  request.exchange.answers = std::move(answers);
  request.exchange.finish_reason = std::move(finish_reason);
  if (request.replaces) transcript_.exchanges.pop_back();
  transcript_.exchanges.push_back(std::move(request.exchange));
}

Exchange Session::undo() {
  if (transcript_.exchanges.empty()) throw Error("there is nothing to undo");
  Exchange last = std::move(transcript_.exchanges.back());
  transcript_.exchanges.pop_back();
  return last;
}

}  // namespace continuo
