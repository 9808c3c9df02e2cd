#include "data/data_config.h"

#include <array>
#include <filesystem>

namespace continuo {
namespace {

namespace fs = std::filesystem;

constexpr std::array kRowFormats = {EnumName{"auto", static_cast<int>(RowFormat::kAuto)},
                                    EnumName{"records", static_cast<int>(RowFormat::kRecords)},
                                    EnumName{"messages", static_cast<int>(RowFormat::kMessages)},
                                    EnumName{"text", static_cast<int>(RowFormat::kText)}};
constexpr std::array kFaultyRows = {EnumName{"fail", static_cast<int>(FaultyRows::kFail)},
                                    EnumName{"drop", static_cast<int>(FaultyRows::kDrop)}};
constexpr std::array kOverlongRows = {
    EnumName{"drop", static_cast<int>(OverlongRows::kDrop)},
    EnumName{"truncate_prompt_left", static_cast<int>(OverlongRows::kTruncatePromptLeft)},
    EnumName{"fail", static_cast<int>(OverlongRows::kFail)}};

void resolve_sources(std::vector<DataSource>& sources, const ConfigNode& root,
                     const std::string& key, Problems& problems) {
  for (size_t i = 0; i < sources.size(); ++i) {
    const std::string item = fmt::format("{}.{}", key, i);
    const Location where = locate(root, item + ".path");
    DataSource& source = sources[i];
    if (source.path.empty()) continue;  // reported as a missing required field
    fs::path path = source.path;
    std::error_code error;
    const bool from_file = fs::is_regular_file(where.file, error);
    if (path.is_relative()) {
      const fs::path base = from_file ? fs::absolute(where.file).parent_path() : fs::current_path();
      path = base / path;
    }
    path = path.lexically_normal();
    if (!fs::exists(path, error)) {
      const std::string hint = fs::path(source.path).is_absolute()
                                   ? ""
                                   : fmt::format("it was looked for at {}", path.string());
      problems.add(where, fmt::format("no such file: {}", source.path), hint);
    } else if (!fs::is_regular_file(path, error)) {
      problems.add(where, fmt::format("not a regular file: {}", source.path),
                   "list the files of a directory one by one");
    }
    source.path = path.string();
    if (!(source.weight > 0)) {
      problems.add(locate(root, item + ".weight"), fmt::format("weight is {}", source.weight),
                   "it must be above 0; leave the source out instead");
    }
  }
}

}  // namespace

std::span<const EnumName> enum_names(RowFormat) { return kRowFormats; }
std::span<const EnumName> enum_names(FaultyRows) { return kFaultyRows; }
std::span<const EnumName> enum_names(OverlongRows) { return kOverlongRows; }

void fields(FieldVisitor& v, DataSource& c) {
  v.field("path", c.path, "A JSONL or .txt file; relative to this YAML file.");
  v.required();
  v.field("weight", c.weight,
          "Passes over this file per epoch; a fraction draws a fresh subset each epoch.",
          Range::positive());
  v.field("format", c.format,
          "What a row is: records (fields through the prompt template), messages (turns), text "
          "(plain documents).");
  v.field("messages", c.messages, "Field that holds the list of turns (format: messages).");
  v.field("text", c.text, "Field that holds the document (format: text, JSONL).");
  v.field("separator", c.separator,
          "Line that ends a document in a .txt file; empty: blank lines separate documents.");
  v.field(
      "strip_suffix", c.strip_suffix,
      "Removed from the end of every text: an end-of-sequence marker that the data spells out.");
  v.field("row_weight", c.row_weight,
          "Field of a row that holds its weight in the loss; rows without it weigh 1.");
  v.omit_when_empty();
  v.field("turn_weight", c.turn_weight,
          "Key of a message that holds the weight of an answer in the loss (format: messages).");
  v.omit_when_empty();
}

void fields(FieldVisitor& v, DataConfig& c) {
  v.list("train", c.train, "Files to train on.");
  v.list("eval", c.eval, "Files to evaluate on.");
  v.field("eval_share", c.eval_share,
          "Without `eval`: share of the training rows that is held out, chosen by their content.",
          Range::between(0, 0.9));
  v.field("faulty_rows", c.faulty_rows,
          "A row that cannot be used: stop with file:line, or drop and count it.");
  v.field("overlong", c.overlong,
          "A row longer than the context: drop and count it, cut the left of its prompt, or stop.");
  v.field("cache", c.cache, "Directory of the tokenized data.");
  v.field("threads", c.threads, "Tokenizing threads; 0: one per core.", Range::between(0, 1024));
}

DataConfig resolve_data_config(DataConfig config, const ConfigNode& root, std::string_view key,
                               Problems& problems) {
  const std::string prefix(key);
  if (config.train.empty()) {
    problems.add(locate(root, prefix), fmt::format("{}.train names no file", key),
                 "add `train: [{path: rows.jsonl}]`");
  }
  if (!config.eval.empty() && config.eval_share > 0) {
    problems.add(locate(root, prefix + ".eval_share"), "both `eval` and `eval_share` are given",
                 "keep one: files to evaluate on, or a share of the training rows");
  }
  resolve_sources(config.train, root, prefix + ".train", problems);
  resolve_sources(config.eval, root, prefix + ".eval", problems);
  return config;
}

std::string display_path(const std::string& path) {
  std::error_code error;
  const fs::path here = fs::current_path(error);
  if (error || fs::path(path).is_relative()) return path;
  const std::string shorter = fs::path(path).lexically_relative(here).string();
  return shorter.empty() || shorter.starts_with("..") ? path : shorter;
}

}  // namespace continuo
