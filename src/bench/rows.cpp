#include "bench/rows.h"

namespace continuo {

void fields(FieldVisitor& v, BenchRowsConfig& c) {
  v.field("data", c.data, "JSONL file whose rows are used, in its order.");
  v.field("prompt", c.prompt, "Template of a row's prompt: \"{question}\\n\".");
  v.field("completion", c.completion, "Template of its completion.");
  v.field("cache", c.cache, "Directory of the tokenized data.");
  v.field("context", c.context, "Longest row, in tokens; longer ones are dropped.",
          Range::at_least(2));
}

std::shared_ptr<const ExampleStore> open_bench_rows(const BenchRowsConfig& config,
                                                    const Tokenizer& tokenizer) {
  DataConfig data;
  data.cache = config.cache;
  data.train.emplace_back().path = config.data;
  Problems problems;
  data = resolve_data_config(data, {}, "data", problems);
  problems.raise();
  const PromptTemplate prompt(
      PromptConfig{.prompt = config.prompt, .completion = config.completion});
  return open_data_sets(data, tokenizer, prompt, config.context).train;
}

}  // namespace continuo
