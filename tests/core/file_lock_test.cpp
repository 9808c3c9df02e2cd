#include "core/file_lock.h"

#include <csignal>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::TempDir;

TEST(FileLock, OneHolderAtATime) {
  TempDir dir;
  auto path = dir / "sub/lock";
  {
    FileLock lock(path);
    EXPECT_FALSE(FileLock::try_lock(path).has_value());
  }
  EXPECT_TRUE(FileLock::try_lock(path).has_value());
}

TEST(FileLock, DiesWithItsProcess) {
  TempDir dir;
  auto path = dir / "lock";
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    FileLock lock(path);
    (void)!write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_FALSE(FileLock::try_lock(path).has_value());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(FileLock::try_lock(path).has_value());
  close(ready[0]);
  close(ready[1]);
}

}  // namespace
}  // namespace continuo
