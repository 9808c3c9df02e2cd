#include "data/line_reader.h"

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

std::vector<std::string> lines_of(const std::string& content) {
  const test::TempDir dir;
  LineReader reader(dir.write("f", content).string(), "f");
  std::vector<std::string> lines;
  while (const auto line = reader.next()) lines.emplace_back(*line);
  EXPECT_EQ(reader.line(), static_cast<int64_t>(lines.size()));
  return lines;
}

using Lines = std::vector<std::string>;

TEST(LineReader, EndsOfLines) {
  EXPECT_EQ(lines_of("a\nb\n"), (Lines{"a", "b"}));
  EXPECT_EQ(lines_of("a\r\nb"), (Lines{"a", "b"}));
  EXPECT_EQ(lines_of("\n\na"), (Lines{"", "", "a"}));
  EXPECT_EQ(lines_of(""), Lines{});
  EXPECT_EQ(lines_of("\xEF\xBB\xBF{}\n"), (Lines{"{}"}));
  EXPECT_EQ(lines_of(std::string("a\0b\n", 4)), (Lines{std::string("a\0b", 3)}));
}

TEST(LineReader, LinesAcrossTheBuffer) {
  const std::string longer(3'000'000, 'x');
  EXPECT_EQ(lines_of("a\n" + longer + "\nb"), (Lines{"a", longer, "b"}));
}

TEST(LineReader, CountsBytes) {
  const test::TempDir dir;
  LineReader reader(dir.write("f", "ab\r\ncd").string(), "f");
  reader.next();
  EXPECT_EQ(reader.bytes(), 4);
  reader.next();
  EXPECT_EQ(reader.bytes(), 6);
}

TEST(LineReader, Faults) {
  const test::TempDir dir;
  EXPECT_NE(test::error_of([&] { LineReader((dir / "none").string(), "none"); }), "");
  const std::string path = dir.write("f", std::string("\xFF\xFE{\0}\0", 6)).string();
  EXPECT_NE(test::error_of([&] { LineReader(path, "f"); }).find("f:1: the file is UTF-16"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
