// Every tokenized document of a data set in one memory-mapped file, keyed by content. Built once by
// background threads, then opened in milliseconds; memory stays flat however large the data is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/data_config.h"
#include "data/example.h"
#include "data/store_report.h"
#include "text/prompt/prompt_template.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

class StoreFile;

class ExampleStore {
 public:
  int64_t size() const;
  ExampleView operator[](int64_t index) const;
  int64_t length(int64_t index) const;  // tokens; cheaper than the view: touches only the index
  // "file:line" of the row an example came from.
  std::string where(int64_t index) const;
  int64_t source(int64_t index) const;  // index into the sources
  // Examples that belong together, an answer that was chosen and one that was rejected, are a
  // group, one after another; an example alone is one too.
  int64_t groups() const;
  int64_t group(int64_t index) const;
  std::pair<int64_t, int64_t> group_range(int64_t group) const;  // [begin, end) of its examples
  int64_t sources() const;
  std::pair<int64_t, int64_t> source_range(int64_t source) const;   // [begin, end) of its examples
  std::pair<int64_t, int64_t> source_groups(int64_t source) const;  // [begin, end) of its groups
  double weight(int64_t source) const;                              // as configured
  const StoreReport& report() const;                                // all sources together
  const StoreReport& source_report(int64_t source) const;
  const std::string& source_name(int64_t source) const;  // its path as messages show it
  // Of data, tokenizer, template and every setting that changes an example. Weights do not.
  const std::string& hash() const;

 private:
  struct State;
  explicit ExampleStore(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  friend std::shared_ptr<const ExampleStore> open_example_store(const DataConfig&,
                                                                const std::vector<DataSource>&,
                                                                const Tokenizer&,
                                                                const PromptTemplate&, int64_t,
                                                                Split);
  std::shared_ptr<const State> state_;
};

// Opens the cached store for `sources`, or builds it (with progress on stderr; interrupted builds
// leave nothing behind). `context` is the longest document that training feeds, in positions: n
// tokens are n-1 positions. Source paths as resolve_data_config left them. Errors carry file:line
// of the faulty row. Two processes that need the same store build it once. A damaged cache file is
// rebuilt with a warning.
std::shared_ptr<const ExampleStore> open_example_store(const DataConfig& config,
                                                       const std::vector<DataSource>& sources,
                                                       const Tokenizer& tokenizer,
                                                       const PromptTemplate& prompt,
                                                       int64_t context, Split split = Split::kAll);

struct DataSets {
  std::shared_ptr<const ExampleStore> train;
  std::shared_ptr<const ExampleStore> eval;  // null without `eval` and `eval_share`
};
// Both sets of a configuration. Error when one that was asked for is empty, saying what became of
// its rows.
DataSets open_data_sets(const DataConfig& config, const Tokenizer& tokenizer,
                        const PromptTemplate& prompt, int64_t context);

}  // namespace continuo
