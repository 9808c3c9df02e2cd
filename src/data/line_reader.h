// The lines of a text file, one at a time, whatever its size. Handles \r\n, a missing last newline
// and a UTF-8 byte-order mark. Knows nothing about what a line means.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/files.h"

namespace continuo {

class LineReader {
 public:
  // `name` is what errors call the file. Errors: unreadable, UTF-16.
  LineReader(const std::string& path, std::string name);

  // The next line without its end; valid until the next call. Error: a line above 256 MiB.
  std::optional<std::string_view> next();
  int64_t line() const { return line_; }    // number of the line that next() gave, from 1
  int64_t bytes() const { return bytes_; }  // read so far

 private:
  bool fill();

  FileReader file_;
  std::string name_;
  std::string buffer_;
  size_t begin_ = 0;
  int64_t line_ = 0, bytes_ = 0;
  bool end_of_file_ = false;
};

}  // namespace continuo
