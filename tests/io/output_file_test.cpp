#include "io/output_file.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

TEST(OutputFile, ReplacesWhatWasThereAndCounts) {
  const test::TempDir directory;
  const auto path = directory.write("x", "much longer than what comes");
  OutputFile file(path);
  file.write("one ");
  file.write("two\0three", 9);
  EXPECT_EQ(file.written(), 13u);
  file.close();
  EXPECT_EQ(test::read_file(path), std::string("one two\0three", 13));
}

TEST(OutputFile, FaultsNameThePath) {
  const test::TempDir directory;
  test::expect_error([&] { OutputFile(directory / "absent/x"); }, {"absent/x", "cannot create"});
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  OutputFile full("/dev/full");
  test::expect_error([&] { full.write("x"); }, {"/dev/full", "cannot write"});
}

}  // namespace
}  // namespace continuo
