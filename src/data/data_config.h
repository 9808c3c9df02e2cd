// The `data:` section: where rows come from, how faulty and overlong ones are treated.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"

namespace continuo {

// auto: `.txt` and `.text` files are text. Otherwise the first row of the file decides: records
// when it has every field that the template names, messages when it has the `messages` field, text
// when it has the `text` field. A template without a prompt whose completion is just the text field
// also means text.
enum class RowFormat { kAuto, kRecords, kMessages, kText };
enum class FaultyRows { kFail, kDrop };
enum class OverlongRows { kDrop, kTruncatePromptLeft, kFail };
std::span<const EnumName> enum_names(RowFormat);
std::span<const EnumName> enum_names(FaultyRows);
std::span<const EnumName> enum_names(OverlongRows);

// Which rows of the sources: with DataConfig::eval_share, kEval are the held-out ones and kTrain
// the others. A row is held out by a hash of its rendered text, so equal rows never land in both
// and rows added later move no other row.
enum class Split { kAll, kTrain, kEval };

struct DataSource {
  std::string path;     // relative to the YAML file that names it
  double weight = 1.0;  // passes over this file per epoch; fractions draw a fresh subset each epoch
  RowFormat format = RowFormat::kAuto;
  std::string messages = "messages";  // field that holds the turns
  // The field that holds plain text (JSONL); .txt files are read as they are.
  std::string text = "text";
  // .txt files: the line that ends a document. Empty: blank lines separate documents. A document is
  // held in memory.
  std::string separator;
  // Removed from the end of every text: an end-of-sequence marker that the data spells out
  // ("<|endoftext|>"). The real end of sequence is always appended as an id.
  std::string strip_suffix;
  // Names what weighs in the loss; what does not have it weighs 1, and 0 is not trained.
  std::string row_weight;   // a field of a row
  std::string turn_weight;  // a key of an answer in `messages`
};

struct DataConfig {
  std::vector<DataSource> train;
  std::vector<DataSource> eval;
  // Without `eval`: this share of the training rows is held out (by content hash).
  double eval_share = 0;
  FaultyRows faulty_rows = FaultyRows::kFail;
  // Rows of records and messages that are longer than the context. Plain text is cut into pieces
  // instead.
  OverlongRows overlong = OverlongRows::kDrop;
  std::string cache = ".cache/continuo";  // directory of tokenized stores
  int64_t threads = 0;                    // tokenizing threads, 0 = all cores
};
void fields(FieldVisitor& v, DataSource& c);
void fields(FieldVisitor& v, DataConfig& c);

// Checks what one field cannot know alone and returns the configuration with absolute source paths:
// a relative path counts from the YAML file that wrote it, one given as key=value from the working
// directory. `key` is the dotted name of the section in `root`. Faults (missing files,
// contradictions) go to `problems`.
DataConfig resolve_data_config(DataConfig config, const ConfigNode& root, std::string_view key,
                               Problems& problems);

// A path as a reader of messages wants it: relative where it lies below the working directory.
std::string display_path(const std::string& path);

}  // namespace continuo
