// The `data:` section: where rows come from, how faulty and overlong ones are treated.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace continuo {

enum class RowFormat { kAuto, kRecords, kMessages, kText };  // auto: by file name and first row
enum class FaultyRows { kFail, kDrop };
enum class OverlongRows { kDrop, kTruncatePromptLeft, kFail };

struct DataSource {
  std::string path;      // relative to the YAML file that names it
  double weight = 1.0;   // passes over this file per epoch; fractions draw a fresh subset each epoch
  RowFormat format = RowFormat::kAuto;
  std::string messages = "messages";  // field that holds the turns
  std::string text = "text";          // field that holds plain text (JSONL); .txt files are read as they are
};

struct DataConfig {
  std::vector<DataSource> train;
  std::vector<DataSource> eval;
  double eval_share = 0;      // without `eval`: this share of the training rows is held out (by content hash)
  FaultyRows faulty_rows = FaultyRows::kFail;
  OverlongRows overlong = OverlongRows::kDrop;
  std::string cache = ".cache/continuo";  // directory of tokenized stores
  int64_t threads = 0;                    // tokenizing threads, 0 = all cores
};
void fields(FieldVisitor& v, DataSource& c);
void fields(FieldVisitor& v, DataConfig& c);

}  // namespace continuo
