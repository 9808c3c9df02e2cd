// An experiment that trains in seconds.
#pragma once

#include <chrono>
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "e2e/binary.h"
#include "support/temp_dir.h"

namespace continuo {

// A little data set and an experiment over it.
inline void write_experiment(const TempDir& directory) {
  std::string rows;
  for (int i = 0; i < 60; ++i) {
    rows += nlohmann::json({{"question", "What is " + std::to_string(i) + " plus one?"},
                            {"answer", "It is " + std::to_string(i + 1) + ", of course."}})
                .dump() +
            "\n";
  }
  directory.write("rows.jsonl", rows);
  directory.write("x.yaml", R"(run_dir: run
threads: 1
device: cpu
tokenizer: {train: {inputs: [{path: rows.jsonl, fields: [question, answer]}], vocab_size: 290}}
model: {layers: 1, hidden: 32, heads: 2, context: 128}
prompt: {prompt: "{question}\n", completion: "{answer}"}
data: {train: [{path: rows.jsonl}], eval_share: 0.1, cache: cache}
batch: {rows: 8, micro_tokens: 64}
train: {lr: 5e-3, steps: 30, eval_every: 15}
checkpoint: {every: 10}
generation: {max_new_tokens: 8}
samples: ["What is 3 plus one?"]
)");
}

inline void wait_for(const fs::path& path) {
  for (int i = 0; i < 1200 && !fs::exists(path); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ASSERT_TRUE(fs::exists(path)) << path;
}

}  // namespace continuo
