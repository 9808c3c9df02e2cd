// Reads the files that a tokenizer is trained on, one stretch of text at a time, in constant
// memory.
#pragma once

#include <cstdint>
#include <deque>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/tokenizer_train_config.h"

namespace continuo {

// Cuts `text` into stretches of at most `max_bytes`: behind the last line break that fits, else
// before the last space, else between code points. Together they give the text back, without the
// characters that SentencePiece reserves for itself (U+0000, U+2581, U+2585), which always end a
// stretch.
std::vector<std::string_view> cut_for_training(std::string_view text, size_t max_bytes);

class TrainingText {
 public:
  explicit TrainingText(const TokenizerTrainConfig& config);

  // The next stretch; false at the end. Error (file:line): unreadable file, invalid UTF-8, bad
  // JSON, a field that is missing or is not text.
  bool next(std::string& stretch);

  int64_t bytes_read() const { return bytes_read_; }

 private:
  bool read_more();
  bool read_line(std::string& line);
  void read_row(const std::string& line);
  void open_next();
  void add(std::string_view text);
  Location here() const;

  std::vector<TokenizerInput> inputs_;
  size_t max_bytes_;
  double sample_;
  uint64_t seed_;
  size_t next_input_ = 0;
  std::ifstream stream_;
  bool open_ = false;
  int line_ = 0;
  int64_t bytes_read_ = 0;
  uint64_t stretches_ = 0;
  std::deque<std::string> ready_;
};

}  // namespace continuo
