#include "cli/line_editor.h"

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cwchar>
#include <utility>

#include <fmt/ranges.h>
#include <histedit.h>
#include <poll.h>
#include <unistd.h>

#include "cli/history.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/utf8.h"

namespace continuo {
namespace {

constexpr int kHistorySize = 10000;

// Keys that libedit leaves unbound.
constexpr std::pair<const char*, const char*> kKeys[] = {
    {"^I", "continuo-complete"},  {"\\e[200~", "continuo-paste"},    {"^R", "em-inc-search-prev"},
    {"\\e[1~", "ed-move-to-beg"}, {"\\e[4~", "ed-move-to-end"},      {"\\e[H", "ed-move-to-beg"},
    {"\\e[F", "ed-move-to-end"},  {"\\e[3~", "ed-delete-next-char"}, {"\\e[1;5C", "em-next-word"},
    {"\\e[1;5D", "ed-prev-word"},
};

// The terminal marks what is pasted, so that line breaks in it end no line.
constexpr const char* kMarkPastes = "\x1b[?2004h";
constexpr const char* kLeavePastes = "\x1b[?2004l";
constexpr std::wstring_view kPasteEnd = L"\x1b[201~";

std::string common_prefix(const std::vector<std::string>& words) {
  std::string prefix = words.front();
  for (const std::string& word : words) {
    prefix.resize(static_cast<size_t>(
        std::mismatch(prefix.begin(), prefix.end(), word.begin(), word.end()).first -
        prefix.begin()));
  }
  return prefix;
}

}  // namespace

struct LineEditor::Terminal {
  // libedit takes characters apart and measures them by the thread's locale; ours are UTF-8.
  class Utf8Scope {
   public:
    Utf8Scope()
        : utf8_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)),
          before_(utf8_ ? uselocale(utf8_) : nullptr) {}
    ~Utf8Scope() {
      if (!utf8_) return;
      uselocale(before_);
      freelocale(utf8_);
    }
    Utf8Scope(const Utf8Scope&) = delete;
    Utf8Scope& operator=(const Utf8Scope&) = delete;

   private:
    locale_t utf8_, before_;
  };

  explicit Terminal(std::vector<std::string> completed) : words(std::move(completed)) {
    history(entries.get(), &event, H_SETSIZE, kHistorySize);
    EditLine* e = editor.get();
    el_set(e, EL_CLIENTDATA, this);
    el_set(e, EL_EDITOR, "emacs");
    el_set(e, EL_HIST, history, entries.get());
    el_set(e, EL_PROMPT, &show_prompt);
    el_set(e, EL_GETCFN, &read_character);
    el_set(e, EL_ADDFN, "continuo-complete", "Complete commands and file names", &complete);
    el_set(e, EL_ADDFN, "continuo-paste", "Insert what the terminal pastes", &paste);
    for (const auto& [key, function] : kKeys) el_set(e, EL_BIND, key, function, nullptr);
    el_source(e, nullptr);  // ~/.editrc
  }

  static Terminal& of(EditLine* editor) {
    Terminal* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return *self;
  }

  static char* show_prompt(EditLine* editor) { return of(editor).prompt.data(); }

  // 1: a character; 0: the end; −1: interrupted, or the terminal failed.
  static int read_character(EditLine* editor, wchar_t* character) {
    std::string& bytes = of(editor).pending;
    for (;;) {
      if (interrupted()) return -1;
      if (!bytes.empty()) {
        const Utf8Step step = utf8_step(bytes);
        if (step.kind != Utf8Step::Kind::kIncomplete) {
          std::mbstate_t state{};
          *character = L'\uFFFD';
          if (step.kind == Utf8Step::Kind::kComplete) {
            std::mbrtowc(character, bytes.data(), step.length, &state);
          }
          bytes.erase(0, step.length);
          return 1;
        }
      }
      pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
      // The timeout is for a signal that arrives just before poll, and for a new size.
      constexpr int kMilliseconds = 200;
      const int ready = poll(&input, 1, kMilliseconds);
      if (ready < 0 && errno != EINTR) return -1;
      el_resize(editor);
      if (ready <= 0) continue;
      char byte;
      const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return static_cast<int>(n);
      bytes += byte;
    }
  }

  static unsigned char complete(EditLine* editor, int key) {
    const LineInfo* line = el_line(editor);
    const std::string_view begun(line->buffer, static_cast<size_t>(line->cursor - line->buffer));
    if (begun.find(' ') != std::string_view::npos) return _el_fn_complete(editor, key);
    std::vector<std::string> matches;
    std::ranges::copy_if(of(editor).words, std::back_inserter(matches),
                         [&](const std::string& word) { return word.starts_with(begun); });
    if (matches.empty()) return CC_ERROR;
    std::string rest = common_prefix(matches).substr(begun.size());
    if (matches.size() == 1) rest += ' ';
    if (rest.empty()) {
      fmt::print(stderr, "\n{}\n", fmt::join(matches, "  "));
      return CC_REDISPLAY;
    }
    return el_insertstr(editor, rest.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  static unsigned char paste(EditLine* editor, int) {
    std::wstring text;
    for (wchar_t c; !text.ends_with(kPasteEnd) && el_wgetc(editor, &c) == 1;) {
      text += c == L'\r' ? L'\n' : c;
    }
    if (text.ends_with(kPasteEnd)) text.resize(text.size() - kPasteEnd.size());
    if (text.empty()) return CC_NORM;
    return el_winsertstr(editor, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  void add(const std::string& entry) {
    if (entry == newest) return;
    history(entries.get(), &event, H_ENTER, entry.c_str());
    newest = entry;
  }

  const Utf8Scope locale;  // libedit reads it from its first call to its last
  std::vector<std::string> words;
  std::string prompt, pending, newest;
  HistEvent event{};
  std::unique_ptr<History, decltype(&history_end)> entries{history_init(), &history_end};
  std::unique_ptr<EditLine, decltype(&el_end)> editor{el_init("continuo", stdin, stderr, stderr),
                                                      &el_end};
};

LineEditor::LineEditor(std::vector<std::string> words)
    : terminal_(std::make_unique<Terminal>(std::move(words))), history_(history_file()) {
  try {
    if (!history_.empty()) {
      for (const std::string& entry : read_history(history_)) terminal_->add(entry);
    }
  } catch (const Error& error) {
    log_warning("earlier inputs are not available: {}", error.what());
  }
}

LineEditor::~LineEditor() = default;

LineEditor::Result LineEditor::read(const std::string& prompt) {
  terminal_->prompt = prompt;
  int length = 0;
  std::fputs(kMarkPastes, stderr);
  const char* line = el_gets(terminal_->editor.get(), &length);
  std::fputs(kLeavePastes, stderr);
  if (line && length > 0) {
    std::string text(line, static_cast<size_t>(length));
    if (text.ends_with('\n')) text.pop_back();
    return {Event::kLine, std::move(text)};
  }
  if (!interrupted()) return {Event::kEnd, {}};
  const bool quit = interrupt_signal() != SIGINT;
  clear_interrupt();
  std::fputs("^C\n", stderr);
  return {quit ? Event::kEnd : Event::kInterrupt, {}};
}

void LineEditor::remember(const std::string& entry) {
  if (entry == terminal_->newest) return;
  terminal_->add(entry);
  if (history_.empty()) return;
  try {
    append_history(history_, entry);
  } catch (const Error& error) {
    log_warning("inputs are not kept for later sessions: {}", error.what());
    history_.clear();
  }
}

}  // namespace continuo
