#include "cli/line_editor.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include <poll.h>
#include <unistd.h>

// Readline's headers want stdio first.
#include <readline/history.h>
#include <readline/readline.h>

#include "cli/history.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"

namespace continuo {
namespace {

// Readline calls back without a context.
std::vector<std::string> g_words;
std::optional<LineEditor::Result> g_result;

void on_line(char* line) {
  g_result = line ? LineEditor::Result{LineEditor::Event::kLine, line}
                  : LineEditor::Result{LineEditor::Event::kEnd, {}};
  std::free(line);
  // At once, or the next prompt would be drawn before the answer.
  rl_callback_handler_remove();
}

char* next_word(const char* text, int state) {
  static size_t index = 0;
  if (state == 0) index = 0;
  while (index < g_words.size()) {
    const std::string& word = g_words[index++];
    if (word.starts_with(text)) return strdup(word.c_str());
  }
  return nullptr;
}

char** complete(const char* text, int start, int) {
  if (start > 0) return nullptr;  // readline's own: file names
  rl_attempted_completion_over = 1;
  return rl_completion_matches(text, next_word);
}

}  // namespace

LineEditor::LineEditor(std::vector<std::string> words) : history_(history_file()) {
  g_words = std::move(words);
  rl_readline_name = "continuo";
  rl_outstream = stderr;
  rl_attempted_completion_function = complete;
  rl_basic_word_break_characters = " \t\n";
  // Readline puts the terminal in order before a signal goes on to our handler, also while we poll.
  rl_catch_signals = 1;
  rl_persistent_signal_handlers = 1;
  using_history();
  try {
    if (!history_.empty()) {
      for (const std::string& entry : read_history(history_)) add_history(entry.c_str());
    }
  } catch (const Error& error) {
    log_warning("earlier inputs are not available: {}", error.what());
  }
}

LineEditor::~LineEditor() {
  rl_callback_handler_remove();
  clear_history();
  g_words.clear();
}

LineEditor::Result LineEditor::read(const std::string& prompt) {
  g_result.reset();
  rl_callback_handler_install(prompt.c_str(), on_line);
  while (!g_result) {
    pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    // The timeout is for a signal that arrives just before poll.
    constexpr int kMilliseconds = 200;
    const int ready = poll(&input, 1, kMilliseconds);
    if (ready < 0 && errno != EINTR) break;
    rl_check_signals();
    if (interrupted()) {
      const bool quit = interrupt_signal() != SIGINT;
      clear_interrupt();
      rl_callback_sigcleanup();
      rl_free_line_state();
      rl_replace_line("", 0);
      rl_callback_handler_remove();
      std::fputs("\n", stderr);  // readline has echoed ^C
      return {quit ? Event::kEnd : Event::kInterrupt, {}};
    }
    if (ready > 0) rl_callback_read_char();
  }
  if (!g_result) {
    rl_callback_handler_remove();
    return {Event::kEnd, {}};
  }
  return std::move(*g_result);
}

void LineEditor::remember(const std::string& entry) {
  const HIST_ENTRY* last =
      history_length > 0 ? history_get(history_base + history_length - 1) : nullptr;
  if (last && entry == last->line) return;
  add_history(entry.c_str());
  if (history_.empty()) return;
  try {
    append_history(history_, entry);
  } catch (const Error& error) {
    log_warning("inputs are not kept for later sessions: {}", error.what());
    history_.clear();
  }
}

}  // namespace continuo
