#include "cli/interactive.h"

#include <csignal>
#include <cstdio>

#include <unistd.h>

#include "app/settings.h"
#include "cli/generate_output.h"
#include "cli/line_editor.h"
#include "cli/session.h"
#include "core/console.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/text_flow.h"

namespace continuo {
namespace {

std::vector<std::string> completion_words() {
  std::vector<std::string> words;
  for (const CommandHelp& command : session_commands()) {
    words.push_back(fmt::format("/{}", command.name));
  }
  return words;
}

std::string help_text() {
  std::string text;
  for (const CommandHelp& command : session_commands()) {
    text += fmt::format("/{:<18}{}\n", fmt::format("{} {}", command.name, command.argument),
                        command.help);
  }
  return text +
         "A line that ends in \\ goes on in the next one; \"\"\" opens and closes a block of "
         "lines.\n"
         "Ctrl-C stops an answer or clears the line. A text that begins with / is written //….";
}

class Terminal {
 public:
  Terminal(Completer& completer, const GenerationConfig& settings)
      : completer_(completer), session_(settings), editor_(completion_words()) {
    session_.set_chat(completer.prompt().is_chat());
  }

  void run() {
    note("{}: type a prompt, /help for commands, Ctrl-D to leave", completer_.path().string());
    while (auto input = next_input()) {
      try {
        if (!obey(*input)) return;
      } catch (const Error& error) {
        log_error("{}", error.what());
      }
    }
  }

 private:
  template <class... Args>
  static void note(fmt::format_string<Args...> format, Args&&... args) {
    stderr_console().print_line(fmt::format(format, std::forward<Args>(args)...));
  }

  // The next input that is not blank; nothing at the end.
  std::optional<InputAssembler::Input> next_input() {
    InputAssembler assembler;
    for (;;) {
      // Two quick Ctrl-C at the prompt clear it twice.
      install_interrupt_handlers({.second_kills = false});
      const LineEditor::Result result = editor_.read(assembler.continuing() ? "… " : "> ");
      if (result.event == LineEditor::Event::kEnd) {
        note("");
        return std::nullopt;
      }
      if (result.event == LineEditor::Event::kInterrupt) {
        assembler.clear();
        continue;
      }
      auto input = assembler.push(result.line);
      if (!input || input->text.find_first_not_of(" \t\n") == std::string::npos) continue;
      editor_.remember(input->text);
      return input;
    }
  }

  // False: leave.
  bool obey(const InputAssembler::Input& input) {
    const auto command = input.block ? std::nullopt : parse_command(input.text);
    if (!command) {
      const bool escaped = !input.block && input.text.starts_with("//");
      answer(session_.ask(input.text.substr(escaped ? 1 : 0)));
      return true;
    }
    const std::string& name = command->name;
    if (name == "quit") return false;
    if (name == "help") note("{}", help_text());
    if (name == "set") set(command->argument);
    if (name == "show") show();
    if (name == "regen") regenerate();
    if (name == "undo") undo();
    if (name == "chat") chat(command->argument);
    if (name == "save") save(command->argument);
    if (name == "load") load(command->argument);
    return true;
  }

  void answer(Session::Request request) {
    const std::vector<std::vector<TokenId>> ids{
        encode_input(request.input, completer_.tokenizer(), completer_.prompt(), false)};
    clear_interrupt();
    install_interrupt_handlers();  // a second Ctrl-C ends a process that does not react
    const bool one = request.settings.samples == 1;
    TextFlow flow;
    const auto write = [](const std::string& text) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
    };
    const GenerationResult result =
        completer_.complete(ids, request.settings, [&](const Completion&, std::string_view bytes) {
          if (one) write(flow.push(bytes));
        });
    const bool terminated = interrupt_signal() != 0 && interrupt_signal() != SIGINT;
    if (!terminated) clear_interrupt();
    std::vector<std::string> answers;
    for (const Completion& completion : result.completions) {
      answers.push_back(text_of(completion));
      if (!one) write(fmt::format("[{}] {}\n", completion.sample + 1, answers.back()));
    }
    if (one) write(flow.finish() + "\n");
    statistics_ = fmt::format("{}, seed {}", summarize(result, completer_.tokenizer()),
                              request.settings.seed);
    if (isatty(STDERR_FILENO) != 0) log_dim(statistics_);
    if (result.completions.front().reason == FinishReason::kError)
      throw Error(result.completions.front().error);
    session_.answered(std::move(request), std::move(answers),
                      std::string(continuo::name(result.completions.front().reason)));
  }

  void set(const std::string& assignments) {
    if (assignments.empty()) {
      note("{}", describe_settings(session_.settings()));
      return;
    }
    GenerationConfig changed = session_.settings();
    for (const std::string& assignment : split_settings(assignments)) {
      apply_generation_override(changed, assignment);
    }
    completer_.check(changed);
    const std::string changes = describe_changes(session_.settings(), changed);
    session_.set_settings(std::move(changed));
    note("{}", changes.empty() ? "nothing changed" : changes);
  }

  void show() {
    note("{}\nchat: {}\nexchanges: {}", describe_settings(session_.settings()),
         session_.chat() ? "on" : "off", session_.transcript().exchanges.size());
    if (!statistics_.empty()) note("last answer: {}", statistics_);
  }

  void regenerate() {
    Session::Request request = session_.regenerate();
    note("seed {}: {}", request.settings.seed, title_of({request.exchange.prompt, {}}, 60));
    answer(std::move(request));
  }

  void undo() {
    const Exchange dropped = session_.undo();
    note("forgotten: {}", title_of({dropped.prompt, {}}, 60));
  }

  void chat(const std::string& argument) {
    if (argument != "on" && argument != "off" && !argument.empty()) {
      throw Error(fmt::format("/chat {}: not on or off", argument));
    }
    if (!argument.empty()) session_.set_chat(argument == "on");
    note("chat is {}", session_.chat() ? "on: earlier turns are part of the prompt"
                                       : "off: each input is a prompt by itself");
  }

  void save(const std::string& file) {
    save_transcript(session_.transcript(), file);
    note("{} exchanges and the settings are in {}", session_.transcript().exchanges.size(), file);
  }

  void load(const std::string& file) {
    Transcript transcript = load_transcript(file);
    completer_.check(transcript.settings);
    const std::string changes = describe_changes(session_.settings(), transcript.settings);
    session_.load(std::move(transcript));
    note("{} exchanges from {}", session_.transcript().exchanges.size(), file);
    if (!changes.empty()) note("{}", changes);
  }

  Completer& completer_;
  Session session_;
  LineEditor editor_;
  std::string statistics_;  // of the last answer
};

}  // namespace

void run_session(Completer& completer, const GenerationConfig& config) {
  Terminal(completer, config).run();
}

}  // namespace continuo
