#include "core/files.h"

#include <chrono>
#include <csignal>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::TempDir;

size_t entries(const fs::path& directory) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

TEST(ReadFile, AnySizeAndPipes) {
  TempDir dir;
  for (size_t size : {0u, 1u, 4095u, 4096u, 4097u, 1000000u}) {
    std::string content(size, 'a');
    EXPECT_EQ(read_file(dir.write("f", content)), content);
  }
  EXPECT_FALSE(read_file("/proc/self/status").empty());
  expect_error([&] { read_file(dir / "none"); },
               {"cannot read", "none", "No such file or directory"});
  expect_error([&] { read_file(dir.path()); }, {"Is a directory"});
}

TEST(AtomicWrite, ReplacesAndLeavesNothingBehind) {
  TempDir dir;
  atomic_write(dir / "sub/deep/f", "one");
  atomic_write(dir / "sub/deep/f", "two");
  EXPECT_EQ(read_file(dir / "sub/deep/f"), "two");
  EXPECT_EQ(entries(dir / "sub/deep"), 1u);
  expect_error([&] { atomic_write(dir / "sub", "x"); }, {"sub", "directory"});
  EXPECT_EQ(entries(dir.path()), 1u);
  expect_error([&] { atomic_write(dir / "sub/deep/f/g", "x"); }, {"sub/deep/f", "Not a directory"});
}

// A limit on file sizes stands in for a full disk.
TEST(AtomicWrite, RefusedWritesNameThePathAndKeepTheOldFile) {
  TempDir dir;
  atomic_write(dir / "f", "old");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small{4096, before.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  expect_error([&] { atomic_write(dir / "f", std::string(100000, 'x')); },
               {"cannot write", "/f: File too large"});
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(read_file(dir / "f"), "old");
  EXPECT_EQ(entries(dir.path()), 1u);
}

TEST(AtomicFile, WithoutCommitNothingHappens) {
  TempDir dir;
  dir.write("f", "old");
  {
    AtomicFile file(dir / "f");
    file.write("new");
    EXPECT_EQ(read_file(dir / "f"), "old");
    EXPECT_EQ(entries(dir.path()), 2u);
  }
  EXPECT_EQ(read_file(dir / "f"), "old");
  EXPECT_EQ(entries(dir.path()), 1u);
}

TEST(AtomicFile, HeaderCanBeWrittenLast) {
  TempDir dir;
  AtomicFile file(dir / "f");
  file.write("....body");
  file.write_at(0, "head", 4);
  file.write("!");
  file.commit();
  EXPECT_EQ(read_file(dir / "f"), "headbody!");
}

TEST(AtomicDirectory, AppearsWholeAndReplaces) {
  TempDir dir;
  for (const char* content : {"one", "two"}) {
    AtomicDirectory out(dir / "ckpt/");
    atomic_write(out / "sub/f", content);
    EXPECT_NE(out.path(), dir / "ckpt");
    out.commit();
    EXPECT_EQ(read_file(dir / "ckpt/sub/f"), content);
  }
  EXPECT_EQ(entries(dir.path()), 1u);
  EXPECT_EQ(entries(dir / "ckpt"), 1u) << "replaced, not merged";
}

TEST(AtomicDirectory, WithoutCommitTheOldOneStays) {
  TempDir dir;
  dir.write("ckpt/f", "old");
  {
    AtomicDirectory out(dir / "ckpt");
    atomic_write(out / "g", "half");
  }
  EXPECT_EQ(read_file(dir / "ckpt/f"), "old");
  EXPECT_EQ(entries(dir.path()), 1u);
}

TEST(AtomicDirectory, RemovesWhatDeadProcessesLeft) {
  TempDir dir;
  dir.write(".ckpt.tmp-1-0/f", "dead");
  dir.write(".other.tmp-1-0/f", "somebody else's");
  auto old = fs::file_time_type::clock::now() - std::chrono::hours(1);
  fs::last_write_time(dir / ".ckpt.tmp-1-0", old);
  AtomicDirectory working(dir / "ckpt");
  fs::last_write_time(working.path(), old);  // long in use, but locked
  AtomicDirectory out(dir / "ckpt");
  EXPECT_FALSE(fs::exists(dir / ".ckpt.tmp-1-0"));
  EXPECT_TRUE(fs::exists(dir / ".other.tmp-1-0"));
  EXPECT_TRUE(fs::exists(working.path()));
}

}  // namespace
}  // namespace continuo
