// One output stream shared by log lines and a status line that is rewritten in place: a log line
// never tears the status. Thread-safe. Knows nothing about what is written.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

namespace continuo {

class Console {
 public:
  // `fd` is borrowed. `terminal` says whether the status line may be rewritten in place; `width` 0
  // = ask the terminal.
  Console(int fd, bool terminal, bool colour, int width = 0);

  bool is_terminal() const { return terminal_; }
  bool has_colour() const { return colour_; }
  int width() const;  // columns, 80 when unknown

  // A whole line above the status; the newline is added.
  void print_line(std::string_view text);
  // Replaces the status line (cut to the width); empty removes it. Nothing happens when this is no
  // terminal.
  void set_status(std::string_view text);

 private:
  void write(std::string_view bytes) const;

  const int fd_;
  const bool terminal_, colour_;
  const int width_;
  std::mutex mutex_;
  std::string status_;
};

// Whether to write in colour on `fd`: it is a terminal other than a dumb one, and NO_COLOR
// (no-color.org) is unset or empty.
bool shows_colour(int fd);

// Standard error of this process.
Console& stderr_console();

// The first `columns` columns of UTF-8 text, a code point counting as one.
std::string_view cut_to_columns(std::string_view text, int columns);

}  // namespace continuo
