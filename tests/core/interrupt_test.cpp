#include "core/interrupt.h"

#include <csignal>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace continuo {
namespace {

TEST(Interrupt, SetsTheFlagUntilCleared) {
  install_interrupt_handlers({.second_kills = false});
  EXPECT_FALSE(interrupted());
  std::raise(SIGINT);
  EXPECT_TRUE(interrupted());
  EXPECT_EQ(interrupt_signal(), SIGINT);
  std::raise(SIGINT);
  EXPECT_TRUE(interrupted());
  clear_interrupt();
  EXPECT_FALSE(interrupted());
  std::raise(SIGTERM);
  EXPECT_EQ(interrupt_signal(), SIGTERM);
  clear_interrupt();
  remove_interrupt_handlers();
}

// Runs `action` in a child process; its wait status.
template <class Action>
int status_of(const Action& action) {
  pid_t child = fork();
  if (child == 0) {
    action();
    _exit(7);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(Interrupt, TheSecondSignalKillsWhenAsked) {
  int killed = status_of([] {
    install_interrupt_handlers({.second_kills = true});
    std::raise(SIGINT);
    std::raise(SIGINT);
  });
  ASSERT_TRUE(WIFSIGNALED(killed));
  EXPECT_EQ(WTERMSIG(killed), SIGINT);
  int lives = status_of([] {
    install_interrupt_handlers({.second_kills = true});
    std::raise(SIGINT);
    clear_interrupt();
    std::raise(SIGINT);
  });
  EXPECT_TRUE(WIFEXITED(lives) && WEXITSTATUS(lives) == 7) << "cleared in between";
  int removed = status_of([] {
    install_interrupt_handlers({.second_kills = false});
    remove_interrupt_handlers();
    std::raise(SIGTERM);
  });
  EXPECT_TRUE(WIFSIGNALED(removed) && WTERMSIG(removed) == SIGTERM);
}

}  // namespace
}  // namespace continuo
