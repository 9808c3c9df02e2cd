// A row of a data file → a record, by the format of its source. Checks everything that can be wrong
// with a row; a fault is a value, because a setting may say to count it and go on.
#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "data/data_config.h"
#include "data/json_row.h"
#include "text/prompt/prompt_template.h"
#include "text/prompt/record.h"

namespace continuo {

// What `format: auto` means for this file; other formats are returned as they are. Error: the first
// row fits nothing.
RowFormat detect_format(const DataSource& source, const PromptTemplate& prompt);

class RowParser {
 public:
  // `source.format` must not be kAuto. Both arguments are kept by reference or copied; `prompt`
  // must outlive this.
  RowParser(DataSource source, const PromptTemplate& prompt);

  // Thread-safe.
  std::variant<Record, RowFault> parse(std::string_view row) const;
  bool plain_text() const { return source_.format == RowFormat::kText; }

 private:
  using Parsed = std::variant<RecordContent, RowFault>;
  Parsed content(const JsonRow& row, std::string_view line) const;
  using Text = std::variant<std::string, RowFault>;
  Parsed record(const JsonRow& row) const;
  Parsed messages(const JsonRow& row, std::string_view line) const;
  Parsed document(std::string text) const;
  std::variant<float, RowFault> weight_of(const JsonRow& row) const;
  Text text_of(const JsonValue& value, std::string_view path) const;

  DataSource source_;
  const PromptTemplate& prompt_;
  bool json_;
};

}  // namespace continuo
