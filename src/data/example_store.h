// Every tokenized document of a data set in one memory-mapped file, keyed by content. Built once by background threads,
// then opened in milliseconds; memory stays flat however large the data is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/data_config.h"
#include "data/example.h"
#include "text/prompt_template.h"
#include "text/tokenizer.h"

namespace continuo {

// What happened to the rows of a source; shown by inspect and saved beside the cache.
struct StoreReport {
  int64_t rows = 0, kept = 0, tokens = 0, trained = 0;
  int64_t truncated = 0;
  std::map<std::string, int64_t> dropped;  // reason → rows
};

class ExampleStore {
 public:
  int64_t size() const;
  ExampleView operator[](int64_t index) const;
  // "file:line" of the row an example came from.
  std::string where(int64_t index) const;
  int64_t source(int64_t index) const;                       // index into DataConfig::sources
  std::pair<int64_t, int64_t> source_range(int64_t source) const;  // [begin, end) of its examples
  const StoreReport& report() const;
  std::string hash() const;  // of data + tokenizer + template + length settings

 private:
  friend std::shared_ptr<const ExampleStore> open_example_store(const DataConfig&, const std::vector<DataSource>&,
                                                                const Tokenizer&, const PromptTemplate&, int64_t);
  struct Mapping;
  std::shared_ptr<Mapping> mapping_;
};

// Opens the cached store for `sources`, or builds it (with progress on stderr; interrupted builds leave nothing behind).
// `context` is the longest document in tokens that training feeds. Errors carry file:line of the faulty row.
std::shared_ptr<const ExampleStore> open_example_store(const DataConfig& config, const std::vector<DataSource>& sources,
                                                       const Tokenizer& tokenizer, const PromptTemplate& prompt,
                                                       int64_t context);

}  // namespace continuo
