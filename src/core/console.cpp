#include "core/console.h"

#include <cerrno>
#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

namespace continuo {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";

}  // namespace

Console::Console(int fd, bool terminal, bool colour, int width)
    : fd_(fd), terminal_(terminal), colour_(colour), width_(width) {}

int Console::width() const {
  if (width_ > 0) return width_;
  winsize size{};
  if (::ioctl(fd_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

void Console::print_line(std::string_view text) {
  std::lock_guard lock(mutex_);
  std::string out;
  if (!status_.empty()) out += kClearLine;
  out += text;
  out += '\n';
  out += status_;
  write(out);
}

void Console::set_status(std::string_view text) {
  if (!terminal_) return;
  std::lock_guard lock(mutex_);
  if (text.empty() && status_.empty()) return;
  // One column stays free: some terminals wrap after the last one.
  status_ = cut_to_columns(text, width() - 1);
  write(std::string(kClearLine) + status_);
}

// One call per message, so that lines of several processes do not mix. Output that cannot be
// written is lost: there is no better place to report it.
void Console::write(std::string_view bytes) const {
  while (!bytes.empty()) {
    ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

bool shows_colour(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return ::isatty(fd) != 0 && (!no_color || !*no_color) &&
         !(term && std::string_view(term) == "dumb");
}

Console& stderr_console() {
  static Console console(STDERR_FILENO, ::isatty(STDERR_FILENO) != 0, shows_colour(STDERR_FILENO));
  return console;
}

std::string_view cut_to_columns(std::string_view text, int columns) {
  int count = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    bool starts = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (starts && ++count > columns) return text.substr(0, i);
  }
  return text;
}

}  // namespace continuo
