// Runs a finished model for generation and evaluation: tokens of some documents, which continue
// cached sequences, to hidden states and logits. No gradients. A row's values depend on its
// document and adapter alone; on the CPU's engine its bits do (docs/exactness.md). One pass at a
// time; passes may come from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/head.h"
#include "nn/kv_cache.h"
#include "nn/model_spec.h"
#include "nn/model_weights.h"
#include "nn/pass_time.h"
#include "nn/ragged.h"
#include "nn/weight_format.h"

namespace continuo {

class Transformer;

struct ExecutorOptions {
  WeightFormat weights = WeightFormat::f32;
  std::optional<KVFormat> cache = {};  // unset: see cache_format

  bool operator==(const ExecutorOptions&) const = default;
};

// Beside products that round more than float32's, bfloat16 keys and values cost nothing that
// perplexity shows.
inline KVFormat cache_format(const ExecutorOptions& options) {
  return options.cache.value_or(options.weights == WeightFormat::f32 ? KVFormat::f32
                                                                     : KVFormat::bf16);
}

inline constexpr int64_t kNoAdapter = -1;

struct Pass {
  RaggedInput input;
  KVCache& cache;                      // from this executor's make_cache
  std::vector<int64_t> sequences;      // by document: the one that it continues and is appended to
  std::vector<int64_t> adapters = {};  // by document; empty = none
  std::vector<int64_t> wanted = {};    // the rows whose logits come back
};

struct PassResult {
  at::Tensor hidden;  // [N, hidden], normalised, as the head reads it
  at::Tensor logits;  // [wanted, V] float32
};

// What an executor holds of a model's weights, for people.
struct HeldWeights {
  std::string what, form;  // "matrices of the layers", "q4_k"
  int64_t bytes;
};

class Executor {
 public:
  virtual ~Executor() = default;

  virtual const ModelSpec& spec() const = 0;
  // What it was made with; `weights` is what it comes to for its model.
  virtual const ExecutorOptions& options() const = 0;
  virtual at::Device device() const = 0;
  // What it is and why, for `inspect`: "packed fp32 panels, avx2".
  virtual std::string description() const = 0;

  virtual std::unique_ptr<KVCache> make_cache() const = 0;
  // Error: a document longer than the learned positions.
  virtual PassResult run(const Pass& pass) = 0;
  // [n, hidden] of its results, in any dtype → [n, V] float32, as it gives them.
  virtual at::Tensor logits(const at::Tensor& rows) = 0;
  // The head's values as `run` sees them.
  virtual Head head() const = 0;
  // The matrices as passes see them, for as long as the executor lives.
  virtual WeightMatrix matrix(const MatrixPlace& place) const = 0;
  virtual WeightMatrix head_matrix() const = 0;

  // Takes over what has changed in the model's parameters since; sequences in caches keep what they
  // were computed with.
  virtual void refresh() = 0;
  // Rows of documents that name the id are computed with the adapter, the others without.
  virtual int64_t add_adapter(const AdapterWeights& adapter) = 0;
  virtual void remove_adapter(int64_t id) = 0;

  virtual int64_t weight_bytes() const = 0;  // of all matrices, each of which a pass reads once
  virtual std::vector<HeldWeights> held_weights() const {
    return {{"matrices", std::string(name(options().weights)), weight_bytes()}};
  }
  virtual PassTime pass_time() const = 0;
};

// The executor that the backend of the model's device makes. Adapters of the model's layers are
// left out (Transformer::adapter_weights has them). Error: options that it does not serve.
std::unique_ptr<Executor> make_executor(const std::shared_ptr<Transformer>& model,
                                        const ExecutorOptions& options);

// From now on the modules of `model` compute with the matrices as `executor`, which serves it and
// outlives that, holds them. They are frozen.
void read_from(const Executor& executor, Transformer& model);

}  // namespace continuo
