// How far a long job is: one line rewritten in place on a terminal, otherwise a plain line every
// few seconds. "Tokenizing  1.20M/4.50M rows  27%  310k rows/s  ETA 1m23s". Also the formats of
// durations, sizes and counts.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "core/console.h"

namespace continuo {

struct ProgressOptions {
  std::string title;
  int64_t total = 0;             // 0 = not known: no share, no ETA
  int64_t start = 0;             // already done by an earlier run; does not count for the rate
  std::string unit = "rows";     // "bytes" prints sizes
  double plain_interval = 10;    // seconds between plain lines
  double redraw_interval = 0.1;  // seconds between redraws on a terminal
  Console* console = nullptr;    // nullptr = standard error
  std::function<double()> clock = {};  // seconds, monotonic; empty = the system's
};

// Thread-safe. The destructor removes the line; finish() prints a closing summary instead.
class Progress {
 public:
  explicit Progress(ProgressOptions options);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Sets what is done. `note` follows the ETA ("loss 2.31"); it stays until the next note.
  void update(int64_t done);
  void update(int64_t done, std::string note);
  // For workers that count on their own; cheap.
  void add(int64_t count = 1);
  // "Tokenizing: 4.50M rows in 14.5s (310k rows/s)".
  void finish();

  // The line as it would be drawn now.
  std::string line() const;

 private:
  void draw();
  double elapsed() const;
  std::string amount(double value) const;

  ProgressOptions options_;
  Console& console_;
  double begin_;
  std::atomic<int64_t> done_;
  std::atomic<double> next_draw_;
  mutable std::mutex mutex_;  // note_, finished_
  std::string note_;
  bool finished_ = false;
};

std::string format_duration(double seconds);  // "0.42s", "4.2s", "1m23s", "2h05m", "3d04h"
std::string format_bytes(double bytes);       // "512 B", "1.5 KiB", "2.25 GiB"
std::string format_count(double count);       // "999", "1.23k", "45.6M"

}  // namespace continuo
