#include "data/example_store.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "core/error.h"
#include "core/file_lock.h"
#include "core/hash.h"
#include "core/log.h"
#include "data/content_hash.h"
#include "data/row_parser.h"
#include "data/row_reader.h"
#include "data/store_builder.h"
#include "data/store_file.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

void check_file(const DataSource& source) {
  std::error_code error;
  if (!fs::is_regular_file(source.path, error)) {
    throw Error(fmt::format("no such file: {}", display_path(source.path)),
                "see the `path` of the data sources");
  }
}

std::string store_key(const StorePlan& plan, const Tokenizer& tokenizer,
                      const PromptTemplate& prompt, const fs::path& cache) {
  Hasher key;
  key.update(kStoreVersion).update_sized(tokenizer.hash()).update_sized(prompt.hash());
  key.update(static_cast<uint64_t>(plan.context)).update(static_cast<uint64_t>(plan.overlong));
  key.update(static_cast<uint64_t>(plan.faulty_rows)).update(static_cast<uint64_t>(plan.split));
  if (plan.split != Split::kAll) key.update_sized(fmt::format("{}", plan.eval_share));
  for (const DataSource& source : plan.sources) {
    key.update_sized(content_hash(source.path, cache)).update(static_cast<uint64_t>(source.format));
    key.update(uint64_t{is_text_file(source.path)})
        .update_sized(source.messages)
        .update_sized(source.text);
    key.update_sized(source.separator).update_sized(source.strip_suffix);
    // Stores of earlier releases keep their names.
    if (!source.row_weight.empty()) key.update_sized("row weight").update_sized(source.row_weight);
    if (!source.turn_weight.empty()) {
      key.update_sized("turn weight").update_sized(source.turn_weight);
    }
  }
  return key.hex();
}

// Nothing when there is no usable file; a damaged one is worth a warning.
std::shared_ptr<const StoreFile> open_cached(const fs::path& path, const std::string& key) {
  std::error_code error;
  if (!fs::exists(path, error)) return nullptr;
  try {
    return std::make_shared<const StoreFile>(path, key);
  } catch (const Error& fault) {
    log_warning("{}; tokenizing again", fault.what());
    return nullptr;
  }
}

std::shared_ptr<const StoreFile> open_or_build(const StorePlan& plan, const Tokenizer& tokenizer,
                                               const PromptTemplate& prompt, const fs::path& cache,
                                               const std::string& key) {
  const fs::path path = cache / (key + ".examples");
  if (auto file = open_cached(path, key)) {
    log_debug("the rows were tokenized before: {}", path.string());
    return file;
  }
  const FileLock lock(cache / (key + ".lock"));
  // Another process may have built it while this one waited.
  std::error_code error;
  if (fs::exists(path, error)) {
    try {
      return std::make_shared<const StoreFile>(path, key);
    } catch (const Error&) {
      fs::remove(path, error);
    }
  }
  build_store(plan, tokenizer, prompt, path, key);
  if (store_key(plan, tokenizer, prompt, cache) != key) {
    fs::remove(path, error);
    throw Error("a data file changed while it was being read", "start again when it is complete");
  }
  log_debug("the tokenized rows are kept in {}", path.string());
  return std::make_shared<const StoreFile>(path, key);
}

std::vector<int64_t> group_begins(const StoreFile& file) {
  std::vector<int64_t> begins;
  for (int64_t i = 0; i < file.size(); ++i) {
    if (!file.entry(i).joined) begins.push_back(i);
  }
  if (std::ssize(begins) == file.size()) return {};
  begins.push_back(file.size());
  return begins;
}

std::string empty_message(std::string_view name, const StoreReport& report) {
  return fmt::format("no row is left to {}: {}", name, summary(report));
}

}  // namespace

struct ExampleStore::State {
  std::shared_ptr<const StoreFile> file;
  std::string hash;
  std::vector<double> weights;
  std::vector<std::string> names;
  std::vector<int64_t> begins;  // of each source's examples, and the end
  // Of each group, and the end; empty where every example is a group of its own.
  std::vector<int64_t> group_begins;
  StoreReport total;
};

int64_t ExampleStore::size() const { return state_->file->size(); }
ExampleView ExampleStore::operator[](int64_t index) const { return state_->file->example(index); }
int64_t ExampleStore::length(int64_t index) const { return state_->file->entry(index).length; }
int64_t ExampleStore::source(int64_t index) const { return state_->file->entry(index).source; }
int64_t ExampleStore::groups() const {
  const std::vector<int64_t>& begins = state_->group_begins;
  return begins.empty() ? size() : static_cast<int64_t>(begins.size()) - 1;
}
int64_t ExampleStore::group(int64_t index) const {
  const std::vector<int64_t>& begins = state_->group_begins;
  if (begins.empty()) return index;
  return std::upper_bound(begins.begin(), begins.end(), index) - begins.begin() - 1;
}
std::pair<int64_t, int64_t> ExampleStore::group_range(int64_t group) const {
  const std::vector<int64_t>& begins = state_->group_begins;
  if (begins.empty()) return {group, group + 1};
  const auto at = static_cast<size_t>(group);
  return {begins[at], begins[at + 1]};
}
std::pair<int64_t, int64_t> ExampleStore::source_groups(int64_t source) const {
  const auto [begin, end] = source_range(source);
  const std::vector<int64_t>& begins = state_->group_begins;
  if (begins.empty()) return {begin, end};
  const auto group_at = [&](int64_t example) {
    return std::lower_bound(begins.begin(), begins.end(), example) - begins.begin();
  };
  return {group_at(begin), group_at(end)};
}
int64_t ExampleStore::sources() const { return static_cast<int64_t>(state_->weights.size()); }
double ExampleStore::weight(int64_t source) const {
  return state_->weights[static_cast<size_t>(source)];
}
const StoreReport& ExampleStore::report() const { return state_->total; }
const std::string& ExampleStore::hash() const { return state_->hash; }

const StoreReport& ExampleStore::source_report(int64_t source) const {
  return state_->file->reports()[static_cast<size_t>(source)];
}

const std::string& ExampleStore::source_name(int64_t source) const {
  return state_->names[static_cast<size_t>(source)];
}

std::string ExampleStore::where(int64_t index) const {
  const StoreEntry& entry = state_->file->entry(index);
  return fmt::format("{}:{}", source_name(entry.source), entry.line);
}

std::pair<int64_t, int64_t> ExampleStore::source_range(int64_t source) const {
  const auto at = static_cast<size_t>(source);
  return {state_->begins[at], state_->begins[at + 1]};
}

std::shared_ptr<const ExampleStore> open_example_store(const DataConfig& config,
                                                       const std::vector<DataSource>& sources,
                                                       const Tokenizer& tokenizer,
                                                       const PromptTemplate& prompt,
                                                       int64_t context, Split split) {
  StorePlan plan{.sources = sources,
                 .context = context,
                 .split = split,
                 .eval_share = config.eval_share,
                 .faulty_rows = config.faulty_rows,
                 .overlong = config.overlong,
                 .threads = config.threads};
  for (DataSource& source : plan.sources) {
    check_file(source);
    source.format = detect_format(source, prompt);
  }
  const fs::path cache = config.cache;
  make_directories(cache);
  auto state = std::make_shared<ExampleStore::State>();
  const std::string key = store_key(plan, tokenizer, prompt, cache);
  state->file = open_or_build(plan, tokenizer, prompt, cache, key);
  state->group_begins = group_begins(*state->file);
  state->begins.push_back(0);
  for (size_t i = 0; i < sources.size(); ++i) {
    const StoreReport& report = state->file->reports().at(i);
    state->total += report;
    state->begins.push_back(state->begins.back() + report.examples);
    state->weights.push_back(sources[i].weight);
    state->names.push_back(display_path(sources[i].path));
  }
  // A run of an earlier release must not go on with other examples under the name of its own.
  state->hash = state->total.revised == 0 ? key : hash_bytes(key + " revised");
  return std::shared_ptr<const ExampleStore>(new ExampleStore(std::move(state)));
}

DataSets open_data_sets(const DataConfig& config, const Tokenizer& tokenizer,
                        const PromptTemplate& prompt, int64_t context) {
  const bool share = config.eval.empty() && config.eval_share > 0;
  DataSets sets;
  sets.train = open_example_store(config, config.train, tokenizer, prompt, context,
                                  share ? Split::kTrain : Split::kAll);
  if (sets.train->size() == 0) throw Error(empty_message("train on", sets.train->report()));
  if (share)
    sets.eval = open_example_store(config, config.train, tokenizer, prompt, context, Split::kEval);
  if (!config.eval.empty())
    sets.eval = open_example_store(config, config.eval, tokenizer, prompt, context);
  if (sets.eval && sets.eval->size() == 0) {
    throw Error(empty_message("evaluate on", sets.eval->report()),
                share ? "raise eval_share: the data is small" : "");
  }
  return sets;
}

}  // namespace continuo
