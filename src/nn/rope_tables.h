// The rotations of a model's layers: one table for each way of rotating that its spec names.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/kv_cache.h"
#include "nn/model_spec.h"
#include "nn/ragged.h"
#include "nn/rope.h"

namespace continuo {

class RopeTables {
 public:
  explicit RopeTables(const ModelSpec& spec);

  // Room for documents of so many tokens: tables stay where they are up to there.
  void reserve(int64_t length, at::Device device);
  // For a pass over documents of `lengths` tokens, those in a cache included → one rotation for
  // every table.
  std::vector<Rotation> rotations(const RaggedInput& input, std::span<const int64_t> lengths);
  // Of these, the one of a layer; an empty one where the layer does not rotate.
  const Rotation& of(const std::vector<Rotation>& rotations, int64_t layer) const;

 private:
  std::vector<Rotary> kinds_;
  std::vector<RopeTable> tables_;
  std::vector<int64_t> table_of_;  // by layer, −1 where it does not rotate
};

// Tokens that the documents of a pass have with it: those that the sequences hold, and the new
// ones. cached: nullptr = the documents are whole.
std::vector<int64_t> document_lengths(const RaggedInput& input, const CachedSequences* cached);

// The tokens' rows of the embedding [N, hidden] → the same float32, scaled, with learned positions
// where the model has them. Error: a document longer than those.
at::Tensor embed_tokens(const ModelSpec& spec, const at::Tensor& embedded,
                        const at::Tensor& positions, const RaggedInput& input,
                        std::span<const int64_t> lengths);

}  // namespace continuo
