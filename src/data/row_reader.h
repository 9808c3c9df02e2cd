// The rows of one data file as text: lines of JSONL, or documents of a .txt file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "data/data_config.h"
#include "data/line_reader.h"

namespace continuo {

struct RawRow {
  int64_t line = 0;  // where it starts, from 1
  std::string text;
};

// True for the files that are read as plain text by their name.
bool is_text_file(const std::string& path);
// Nothing but white space.
bool blank(std::string_view text);

class RowReader {
 public:
  explicit RowReader(const DataSource& source);

  // The next row that is not blank.
  std::optional<RawRow> next();
  int64_t bytes() const { return lines_.bytes(); }  // of the file, read so far

 private:
  std::optional<RawRow> next_document();

  LineReader lines_;
  bool text_;
  std::string separator_;
};

}  // namespace continuo
