// A row of a data file → segments of text with their mask, by the format of its source. Checks
// everything that can be wrong with a row; a fault is a value, because a setting may say to count
// it and go on.
#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "data/data_config.h"
#include "data/json_row.h"
#include "text/prompt_template.h"

namespace continuo {

// What `format: auto` means for this file; other formats are returned as they are. Error: the first
// row fits nothing.
RowFormat detect_format(const DataSource& source, const PromptTemplate& prompt);

class RowParser {
 public:
  // `source.format` must not be kAuto. Both arguments are kept by reference or copied; `prompt`
  // must outlive this.
  RowParser(DataSource source, const PromptTemplate& prompt);

  // Thread-safe. Plain text bypasses the template: one trained segment.
  std::variant<std::vector<Segment>, RowFault> parse(std::string_view row) const;
  bool plain_text() const { return source_.format == RowFormat::kText; }

 private:
  using Segments = std::variant<std::vector<Segment>, RowFault>;
  using Text = std::variant<std::string, RowFault>;
  Segments record(const JsonRow& row) const;
  Segments messages(const JsonRow& row) const;
  Segments document(std::string text) const;
  Text text_of(const JsonValue& value, std::string_view path) const;
  std::string stripped(std::string text) const;

  DataSource source_;
  const PromptTemplate& prompt_;
  bool json_;
};

}  // namespace continuo
