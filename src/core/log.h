// Lines for people, on standard error: log_info("read {} rows from {}", rows, path). Results go to
// standard output instead. Thread-safe; does not tear a progress line.
#pragma once

#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace continuo {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// Lines below the level are dropped; kInfo at the start.
void set_log_level(LogLevel level);
LogLevel log_level();

// One message; line breaks inside it are kept.
void log_message(LogLevel level, std::string_view text);

template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_level() > LogLevel::kDebug) return;
  log_message(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

// The line without its newline, as log_message prints it: "warning: …", in colour when asked for.
std::string render_log_line(LogLevel level, std::string_view text, bool colour);

}  // namespace continuo
