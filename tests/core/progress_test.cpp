#include "core/progress.h"

#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "core/files.h"
#include "core/log.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

// A console that writes into a file, and a clock that stands still.
struct Screen {
  explicit Screen(bool terminal, int width = 80) : console(fd.get(), terminal, false, width) {}
  std::string text() const { return read_file(dir / "out"); }
  ProgressOptions options(std::string title, int64_t total) {
    return {.title = std::move(title), .total = total, .console = &console, .clock = [this] {
              return now;
            }};
  }

  test::TempDir dir;
  FileDescriptor fd{::open((dir / "out").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600)};
  Console console;
  double now = 100;
};

TEST(Format, Durations) {
  for (auto [seconds, text] : std::vector<std::pair<double, std::string>>{{0, "0.00s"},
                                                                          {0.42, "0.42s"},
                                                                          {0.999, "1.0s"},
                                                                          {4.21, "4.2s"},
                                                                          {9.96, "10s"},
                                                                          {59.4, "59s"},
                                                                          {59.6, "1m00s"},
                                                                          {83, "1m23s"},
                                                                          {3599.7, "1h00m"},
                                                                          {3723, "1h02m"},
                                                                          {86399, "1d00h"},
                                                                          {273600, "3d04h"},
                                                                          {-1, "?"},
                                                                          {1.0 / 0.0, "?"}}) {
    EXPECT_EQ(format_duration(seconds), text) << seconds;
  }
}

TEST(Format, BytesAndCounts) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(2.25 * (1 << 30)), "2.25 GiB");
  EXPECT_EQ(format_bytes(1024.0 * 1024 - 1), "1.00 MiB");
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(2.5), "2.50");
  EXPECT_EQ(format_count(3), "3");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(999.6), "1.00k");
  EXPECT_EQ(format_count(1234), "1.23k");
  EXPECT_EQ(format_count(45'600'000), "45.6M");
  EXPECT_EQ(format_count(135e6), "135M");
  EXPECT_EQ(format_count(7.24e9), "7.24B");
}

TEST(Progress, LineHoldsShareRateAndEta) {
  Screen screen(true);
  Progress progress(screen.options("Tokenizing", 4500));
  EXPECT_EQ(progress.line(), "Tokenizing  0/4.50k rows  0%");
  screen.now += 10;
  progress.update(1200, "loss 2.31");
  EXPECT_EQ(progress.line(), "Tokenizing  1.20k/4.50k rows  26%  120 rows/s  ETA 28s  loss 2.31");
  progress.update(4500);
  EXPECT_EQ(progress.line(), "Tokenizing  4.50k/4.50k rows  100%  450 rows/s  loss 2.31");
}

TEST(Progress, WhatAnEarlierRunDidIsNoSpeed) {
  Screen screen(true);
  ProgressOptions options = screen.options("Training", 1000);
  options.start = 500;
  options.unit = "steps";
  Progress progress(options);
  screen.now += 10;
  progress.update(600);
  EXPECT_EQ(progress.line(), "Training  600/1.00k steps  60%  10 steps/s  ETA 40s");
}

TEST(Progress, UnknownTotalAndBytes) {
  Screen screen(false);
  ProgressOptions options = screen.options("Reading", 0);
  options.unit = "bytes";
  Progress progress(options);
  screen.now += 2;
  progress.add(2048);
  EXPECT_EQ(progress.line(), "Reading  2.00 KiB  1.00 KiB/s");
}

TEST(Progress, TerminalRewritesOneLineAtMostTenTimesASecond) {
  Screen screen(true, 30);
  {
    Progress progress(screen.options("Title", 100));
    progress.update(1);
    progress.update(2);
    screen.now += 0.05;
    progress.update(3);
    screen.now += 0.06;
    progress.update(4, "a very long note that does not fit");
  }
  EXPECT_EQ(screen.text(),
            "\r\x1b[KTitle  1/100 rows  1%"
            "\r\x1b[KTitle  4/100 rows  4%  36 row"
            "\r\x1b[K");
}

TEST(Progress, PlainOutputIsALineNowAndThen) {
  Screen screen(false);
  Progress progress(screen.options("Title", 100));
  for (int i = 1; i <= 25; ++i) {
    screen.now += 1;
    progress.update(i);
  }
  progress.finish();
  progress.finish();
  EXPECT_EQ(screen.text(),
            "Title  10/100 rows  10%  1 rows/s  ETA 1m30s\n"
            "Title  20/100 rows  20%  1 rows/s  ETA 1m20s\n"
            "Title: 25 rows in 25s (1 rows/s)\n");
}

TEST(Progress, CountsFromManyThreads) {
  Screen screen(true);
  Progress progress(screen.options("Title", 40000));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) progress.add();
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(progress.line(), "Title  40.0k/40.0k rows  100%");
}

TEST(Console, LogLinesDoNotTearTheStatus) {
  Screen screen(true);
  screen.console.set_status("status");
  screen.console.print_line("log");
  screen.console.set_status("");
  screen.console.print_line("log");
  EXPECT_EQ(screen.text(), "\r\x1b[Kstatus\r\x1b[Klog\nstatus\r\x1b[Klog\n");
}

TEST(Console, CutsAtCodePoints) {
  EXPECT_EQ(cut_to_columns("añb", 2), "añ");
  EXPECT_EQ(cut_to_columns("añb", 3), "añb");
  EXPECT_EQ(cut_to_columns("añb", 0), "");
}

TEST(Log, PrefixesAndColour) {
  EXPECT_EQ(render_log_line(LogLevel::kInfo, "x", true), "x");
  EXPECT_EQ(render_log_line(LogLevel::kWarning, "x", false), "warning: x");
  EXPECT_EQ(render_log_line(LogLevel::kError, "x", true), "\x1b[31merror: \x1b[0mx");
}

TEST(Log, LevelsDrop) {
  testing::internal::CaptureStderr();
  log_debug("hidden {}", 1);
  log_info("rows {}", 2);
  set_log_level(LogLevel::kWarning);
  log_info("hidden");
  log_warning("w");
  set_log_level(LogLevel::kDebug);
  log_debug("d");
  set_log_level(LogLevel::kOff);
  log_error("hidden");
  set_log_level(LogLevel::kInfo);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "rows 2\nwarning: w\ndebug: d\n");
}

}  // namespace
}  // namespace continuo
