#include <gtest/gtest.h>

#include "core/config/config.h"
#include "support/expect_error.h"

namespace continuo {
namespace {

Location at_line(const std::string& file, int line, int column = 1) {
  return {.file = file, .line = line, .column = column};
}

TEST(Problems, NothingFoundIsNoError) { EXPECT_NO_THROW(Problems().raise()); }

TEST(Problems, OneFaultIsThatFaultItself) {
  Problems problems;
  problems.add(at_line("a.yaml", 3, 7), "wrong", "do this");
  test::expect_error([&] { problems.raise(); }, {"a.yaml:3:7", "wrong", "do this"});
}

TEST(Problems, SeveralComeTogetherByFileThenByLine) {
  Problems problems;
  problems.add(at_line("b.yaml", 9), "third");
  problems.add(at_line("a.yaml", 1), "fourth");
  problems.add(at_line("b.yaml", 2, 5), "second");
  problems.add(at_line("b.yaml", 2, 1), "first");
  try {
    problems.raise();
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("4 faults"), std::string::npos) << text;
    size_t last = 0;
    for (const char* part : {"first", "second", "third", "fourth"}) {
      const size_t found = text.find(part);
      ASSERT_NE(found, std::string::npos) << text;
      EXPECT_GT(found, last) << text;
      last = found;
    }
  }
}

}  // namespace
}  // namespace continuo
