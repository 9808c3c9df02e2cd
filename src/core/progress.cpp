#include "core/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/process.h"

namespace continuo {
namespace {

// Three significant digits, without the exponents that {:.3g} would use.
std::string three_digits(double x) {
  int decimals = x < 9.995 ? 2 : x < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}", x, decimals);
}

std::string scaled(double value, double base, const std::array<const char*, 6>& units) {
  // 0.9995: what would print as 1000 goes to the next unit.
  size_t unit = 0;
  double limit = base == 1000 ? 999.5 : 1023.5;
  while (std::abs(value) >= limit && unit + 1 < units.size()) {
    value /= base;
    ++unit;
  }
  if (unit == 0) return fmt::format("{:.0f}{}", value, units[0]);
  return three_digits(value) + units[unit];
}

}  // namespace

Progress::Progress(ProgressOptions options)
    : options_(std::move(options)),
      console_(options_.console ? *options_.console : stderr_console()),
      done_(options_.start) {
  if (!options_.clock) options_.clock = seconds_now;
  begin_ = options_.clock();
  // On a terminal the first line appears at once; plain output stays silent for jobs that end
  // quickly.
  next_draw_ = console_.is_terminal() ? begin_ : begin_ + options_.plain_interval;
}

Progress::~Progress() {
  std::lock_guard lock(mutex_);
  if (!finished_) console_.set_status("");
}

void Progress::update(int64_t done) {
  done_.store(done, std::memory_order_relaxed);
  draw();
}

void Progress::update(int64_t done, std::string note) {
  {
    std::lock_guard lock(mutex_);
    note_ = std::move(note);
  }
  update(done);
}

void Progress::add(int64_t count) {
  done_.fetch_add(count, std::memory_order_relaxed);
  draw();
}

void Progress::finish() {
  std::lock_guard lock(mutex_);
  if (std::exchange(finished_, true)) return;
  console_.set_status("");
  double seconds = elapsed();
  auto count = static_cast<double>(done_.load() - options_.start);
  std::string text =
      fmt::format("{}: {} in {}", options_.title, amount(count), format_duration(seconds));
  if (seconds >= 0.1) text += fmt::format(" ({}/s)", amount(count / seconds));
  console_.print_line(text);
}

std::string Progress::line() const {
  auto done = static_cast<double>(done_.load(std::memory_order_relaxed));
  auto total = static_cast<double>(options_.total);
  double seconds = elapsed();
  double rate = seconds > 0 ? (done - static_cast<double>(options_.start)) / seconds : 0;
  std::string text = options_.title + "  ";
  if (options_.total > 0) {
    bool bytes = options_.unit == "bytes";
    text += fmt::format("{}/{}  {:.0f}%", bytes ? format_bytes(done) : format_count(done),
                        amount(total), std::floor(100 * std::min(done / total, 1.0)));
  } else {
    text += amount(done);
  }
  if (rate > 0) text += fmt::format("  {}/s", amount(rate));
  if (rate > 0 && total > done) text += "  ETA " + format_duration((total - done) / rate);
  std::lock_guard lock(mutex_);
  if (!note_.empty()) text += "  " + note_;
  return text;
}

void Progress::draw() {
  double now = options_.clock();
  double due = next_draw_.load(std::memory_order_relaxed);
  if (now < due) return;
  bool terminal = console_.is_terminal();
  double next = now + (terminal ? options_.redraw_interval : options_.plain_interval);
  // Of several threads that are due, one draws.
  if (!next_draw_.compare_exchange_strong(due, next)) return;
  std::string text = line();
  std::lock_guard lock(mutex_);
  if (finished_) return;
  if (terminal) {
    console_.set_status(text);
  } else {
    console_.print_line(text);
  }
}

double Progress::elapsed() const { return options_.clock() - begin_; }

std::string Progress::amount(double value) const {
  if (options_.unit == "bytes") return format_bytes(value);
  return format_count(value) + " " + options_.unit;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 0.995) return fmt::format("{:.2f}s", seconds);
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  if (seconds > 1e15) return "?";
  auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  int64_t m = (s + 30) / 60;
  if (m < 24 * 60) return fmt::format("{}h{:02}m", m / 60, m % 60);
  int64_t h = (m + 30) / 60;
  return fmt::format("{}d{:02}h", h / 24, h % 24);
}

std::string format_bytes(double bytes) {
  return scaled(bytes, 1024, {" B", " KiB", " MiB", " GiB", " TiB", " PiB"});
}

std::string format_count(double count) {
  // A rate below ten would lose everything to rounding.
  if (count > 0 && count < 9.995 && count != std::floor(count)) return three_digits(count);
  return scaled(count, 1000, {"", "k", "M", "B", "T", "Q"});
}

}  // namespace continuo
