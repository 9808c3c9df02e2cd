// What a model says about single tokens of a data set, written to files for a closer look or a
// comparison with another implementation.
#pragma once

#include <filesystem>
#include <optional>

#include "core/files.h"
#include "data/batch.h"
#include "data/example_store.h"
#include "io/safetensors.h"
#include "nn/decoder.h"

namespace continuo {

class TokenReport {
 public:
  // An empty path: not written. `tokens`: JSONL, per row {"row", "index", "tokens", "trained": the
  // positions of the trained tokens, "nll" and "argmax" of each}. `logits`: safetensors, of the
  // first eight rows that come "<index>.ids" [n] int64 and "<index>.logits" [n-1, V] float32.
  TokenReport(Decoder& decoder, const ExampleStore& store, const std::filesystem::path& tokens,
              const std::filesystem::path& logits);

  // `nll`: of the trained tokens, as OnEvaluated gives it. Runs the model once more.
  void add(const Batch& batch, const at::Tensor& nll);
  // The files are there after this and not before.
  void commit();

 private:
  Decoder& decoder_;
  const ExampleStore& store_;
  std::optional<AtomicFile> tokens_;
  std::filesystem::path logits_path_;
  NamedTensors logits_;
};

}  // namespace continuo
