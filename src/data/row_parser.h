// A row of a data file → segments of text with their mask, by the format of its source. Checks
// everything that can be wrong with a row; a fault is a value, because a setting may say to count
// it and go on.
#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "data/data_config.h"
#include "data/json_row.h"
#include "text/prompt/prompt_template.h"

namespace continuo {

// What `format: auto` means for this file; other formats are returned as they are. Error: the first
// row fits nothing.
RowFormat detect_format(const DataSource& source, const PromptTemplate& prompt);

struct ParsedRow {
  std::vector<Segment> segments;
  // Earlier releases, which knew roles and contents alone and ended every answer with
  // end-of-sequence, made something else of it.
  bool revised = false;
};

class RowParser {
 public:
  // `source.format` must not be kAuto. Both arguments are kept by reference or copied; `prompt`
  // must outlive this.
  RowParser(DataSource source, const PromptTemplate& prompt);

  // Thread-safe. Plain text bypasses the template: one trained segment.
  std::variant<ParsedRow, RowFault> parse(std::string_view row) const;
  bool plain_text() const { return source_.format == RowFormat::kText; }

 private:
  using Segments = std::variant<ParsedRow, RowFault>;
  using Text = std::variant<std::string, RowFault>;
  Segments record(const JsonRow& row) const;
  Segments messages(const JsonRow& row, std::string_view line) const;
  Segments document(std::string text) const;
  bool revised(const Conversation& conversation, const std::vector<Segment>& segments) const;
  Text text_of(const JsonValue& value, std::string_view path) const;
  std::string stripped(std::string text) const;

  DataSource source_;
  const PromptTemplate& prompt_;
  bool json_;
};

}  // namespace continuo
