#include "core/console.h"

#include <array>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

namespace continuo {
namespace {

// What a console of the given kind writes while `action` uses it.
template <class Action>
std::string written(bool terminal, int width, const Action& action) {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe(ends.data()), 0);
  {
    Console console(ends[1], terminal, false, width);
    action(console);
  }
  close(ends[1]);
  std::string out;
  std::array<char, 256> buffer{};
  for (ssize_t n; (n = read(ends[0], buffer.data(), buffer.size())) > 0;) {
    out.append(buffer.data(), static_cast<size_t>(n));
  }
  close(ends[0]);
  return out;
}

TEST(Console, ALineGoesAboveTheStatusWhichStays) {
  EXPECT_EQ(written(true, 40,
                    [](Console& c) {
                      c.set_status("50%");
                      c.print_line("note");
                    }),
            "\r\x1b[K50%\r\x1b[Knote\n50%");
}

TEST(Console, WithoutATerminalThereIsNoStatus) {
  EXPECT_EQ(written(false, 40,
                    [](Console& c) {
                      c.set_status("50%");
                      c.print_line("note");
                      c.set_status("");
                    }),
            "note\n");
}

TEST(Console, TheStatusIsCutToTheWidthLessOneColumn) {
  EXPECT_EQ(written(true, 5, [](Console& c) { c.set_status("abcdefgh"); }), "\r\x1b[Kabcd");
}

TEST(Console, ColourIsForTerminalsWhoseUserWantsIt) {
  const char* term = getenv("TERM");
  const std::string before = term ? term : "";
  setenv("TERM", "xterm", 1);
  unsetenv("NO_COLOR");
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  EXPECT_TRUE(shows_colour(terminal));
  EXPECT_FALSE(shows_colour(ends[1]));
  setenv("NO_COLOR", "", 1);
  EXPECT_TRUE(shows_colour(terminal)) << "empty is as good as unset";
  setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(shows_colour(terminal));
  unsetenv("NO_COLOR");
  setenv("TERM", "dumb", 1);
  EXPECT_FALSE(shows_colour(terminal));
  setenv("TERM", before.c_str(), 1);
  for (const int fd : {terminal, ends[0], ends[1]}) close(fd);
}

TEST(Console, TextIsCutBetweenCodePoints) {
  EXPECT_EQ(cut_to_columns("aé→b", 3), "aé→");
  EXPECT_EQ(cut_to_columns("aé→b", 0), "");
  EXPECT_EQ(cut_to_columns("abc", 9), "abc");
}

}  // namespace
}  // namespace continuo
