#include "data/row_reader.h"

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

using FileRows = std::vector<std::pair<int64_t, std::string>>;

FileRows rows_of(const std::string& name, const std::string& content,
                 const std::string& separator = {}) {
  const test::TempDir dir;
  DataSource source;
  source.path = dir.write(name, content).string();
  source.separator = separator;
  RowReader reader(source);
  FileRows rows;
  while (auto row = reader.next()) rows.emplace_back(row->line, row->text);
  return rows;
}

TEST(RowReader, JsonLinesWithoutBlankOnes) {
  EXPECT_EQ(rows_of("f.jsonl", "{}\n\n  \r\n{\"a\":1}\r\n"),
            (FileRows{{1, "{}"}, {4, "{\"a\":1}"}}));
}

TEST(RowReader, BlankLinesSeparateDocuments) {
  EXPECT_EQ(rows_of("f.txt", "\n\none\ntwo\n\n \nthree\r\n"),
            (FileRows{{3, "one\ntwo"}, {7, "three"}}));
  EXPECT_EQ(rows_of("f.txt", "\n\n"), FileRows{});
}

TEST(RowReader, ASeparatorOfItsOwnKeepsBlankLines) {
  EXPECT_EQ(rows_of("f.txt", "one\n\ntwo\n\n<|end|>\n<|end|>\nthree", "<|end|>"),
            (FileRows{{1, "one\n\ntwo"}, {7, "three"}}));
}

}  // namespace
}  // namespace continuo
