// What a model says about single tokens of a data set, written to files for a closer look or a
// comparison with another implementation.
#pragma once

#include <filesystem>
#include <optional>

#include "comm/communicator.h"
#include "core/files.h"
#include "data/batch.h"
#include "data/example_store.h"
#include "nn/decoder.h"

namespace continuo {

// JSONL, per row {"row", "index", "tokens", "trained": the positions of the trained tokens, "nll"
// and "argmax" of each}: the file that one process writes, by the first rank, however many evaluate
// together.
class TokenReport {
 public:
  TokenReport(Decoder& decoder, const ExampleStore& store, Communicator& ranks,
              const std::filesystem::path& path);

  // As OnEvaluated calls it, on all ranks together. Runs the model once more.
  void add(const Batch* batch, const at::Tensor& nll);
  // The file is there after this and not before.
  void commit();

 private:
  std::string lines(const Batch& batch, const at::Tensor& nll) const;

  Decoder& decoder_;
  const ExampleStore& store_;
  Communicator& ranks_;
  std::optional<AtomicFile> file_;  // of the first rank
};

// Safetensors, of the store's first eight rows "<index>.ids" [n] int64 and "<index>.logits"
// [n-1, V] float32.
void write_logits(Decoder& decoder, const ExampleStore& store, const std::filesystem::path& path);

}  // namespace continuo
