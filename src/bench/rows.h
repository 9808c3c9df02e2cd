// Rows of a file for the subcommands of `bench`, tokenized as training does it.
#pragma once

#include <memory>
#include <string>

#include "core/config/config.h"
#include "data/example_store.h"

namespace continuo {

struct BenchRowsConfig {
  std::string data;
  std::string prompt = "{prompt}";
  std::string completion = "{completion}";
  std::string cache = ".cache/continuo";
  int64_t context = 8192;
};
void fields(FieldVisitor& v, BenchRowsConfig& c);

// Error: as open_example_store, or no row at all.
std::shared_ptr<const ExampleStore> open_bench_rows(const BenchRowsConfig& config,
                                                    const Tokenizer& tokenizer);

}  // namespace continuo
