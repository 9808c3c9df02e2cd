#include "core/mapped_file.h"

#include <gtest/gtest.h>

#include "core/files.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::expect_error;
using test::TempDir;

TEST(MappedFile, ReadsWithoutCopying) {
  TempDir dir;
  auto path = dir.write("f", "hello");
  MappedFile map(path);
  EXPECT_EQ(map.text(), "hello");
  map.prefetch();
  MappedFile moved = std::move(map);
  EXPECT_EQ(moved.size(), 5u);
  EXPECT_EQ(map.size(), 0u);
  EXPECT_EQ(MappedFile(dir.write("empty", "")).size(), 0u);
  expect_error([&] { MappedFile(dir / "none"); }, {"none", "No such file"});
  expect_error([&] { MappedFile(dir.path()); }, {"not a regular file"});
}

TEST(MappedFile, PrivateChangesStayPrivate) {
  TempDir dir;
  auto path = dir.write("f", "hello");
  MappedFile map(path, MappedFile::Mode::kPrivate);
  map.mutable_data()[0] = std::byte{'J'};
  EXPECT_EQ(map.text(), "Jello");
  EXPECT_EQ(read_file(path), "hello");
}

TEST(MappedFile, SurvivesReplacementByRename) {
  TempDir dir;
  auto path = dir.write("f", "old");
  MappedFile map(path);
  atomic_write(path, "something longer");
  EXPECT_EQ(map.text(), "old");
}

}  // namespace
}  // namespace continuo
