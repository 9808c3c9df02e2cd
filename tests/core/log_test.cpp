#include "core/log.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(Log, InformationStandsAloneTheRestSaysWhatItIs) {
  EXPECT_EQ(render_log_line(LogLevel::kInfo, "text", true), "text");
  EXPECT_EQ(render_log_line(LogLevel::kWarning, "text", false), "warning: text");
  EXPECT_EQ(render_log_line(LogLevel::kError, "text", false), "error: text");
  EXPECT_EQ(render_log_line(LogLevel::kError, "text", true), "\x1b[31merror: \x1b[0mtext");
}

TEST(Log, LinesBelowTheLevelAreDropped) {
  const LogLevel before = log_level();
  testing::internal::CaptureStderr();
  set_log_level(LogLevel::kWarning);
  log_info("quiet {}", 1);
  log_warning("loud {}", 2);
  set_log_level(LogLevel::kOff);
  log_error("off");
  set_log_level(LogLevel::kDebug);
  log_debug("detail");
  set_log_level(before);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "warning: loud 2\ndebug: detail\n");
}

}  // namespace
}  // namespace continuo
