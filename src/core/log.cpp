#include "core/log.h"

#include <array>
#include <atomic>
#include <string>

#include "core/console.h"

namespace continuo {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};

struct Style {
  std::string_view prefix, colour;
};
// In the order of LogLevel. Information carries no prefix: it is most of what is printed.
constexpr std::array<Style, 4> kStyles{
    {{"debug: ", "\x1b[2m"}, {"", ""}, {"warning: ", "\x1b[33m"}, {"error: ", "\x1b[31m"}}};

}  // namespace

void set_log_level(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }
LogLevel log_level() { return g_level.load(std::memory_order_relaxed); }

std::string render_log_line(LogLevel level, std::string_view text, bool colour) {
  const Style& style = kStyles.at(static_cast<size_t>(level));
  if (!colour || style.prefix.empty()) return fmt::format("{}{}", style.prefix, text);
  return fmt::format("{}{}\x1b[0m{}", style.colour, style.prefix, text);
}

void log_message(LogLevel level, std::string_view text) {
  if (level < log_level() || level == LogLevel::kOff) return;
  Console& console = stderr_console();
  console.print_line(render_log_line(level, text, console.has_colour()));
}

}  // namespace continuo
