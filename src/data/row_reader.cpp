#include "data/row_reader.h"

#include <filesystem>

namespace continuo {

bool blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\f\v\n") == std::string_view::npos;
}

bool is_text_file(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  return extension == ".txt" || extension == ".text";
}

RowReader::RowReader(const DataSource& source)
    : lines_(source.path, display_path(source.path)),
      text_(is_text_file(source.path)),
      separator_(source.separator) {}

std::optional<RawRow> RowReader::next() {
  if (text_) return next_document();
  while (const auto line = lines_.next()) {
    if (!blank(*line)) return RawRow{lines_.line(), std::string(*line)};
  }
  return std::nullopt;
}

std::optional<RawRow> RowReader::next_document() {
  RawRow row;
  while (const auto line = lines_.next()) {
    const bool ends = separator_.empty() ? blank(*line) : *line == separator_;
    if (ends && row.line > 0) break;
    // Blank lines before a document are not part of it.
    if (ends || (row.line == 0 && blank(*line))) continue;
    if (row.line == 0) {
      row.line = lines_.line();
    } else {
      row.text += '\n';
    }
    row.text += *line;
  }
  if (row.line == 0) return std::nullopt;
  // With a separator of its own, a document may end in blank lines.
  while (row.text.ends_with('\n')) row.text.pop_back();
  return row;
}

}  // namespace continuo
