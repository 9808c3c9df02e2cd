#include "nn/rope_tables.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>

#include "core/error.h"

namespace continuo {

RopeTables::RopeTables(const ModelSpec& spec) {
  for (const BlockSpec& block : spec.blocks) {
    const auto* attend = std::get_if<Attend>(&block.mixer);
    if (!attend || !attend->rotary) {
      table_of_.push_back(-1);
      continue;
    }
    const std::optional<Rotary>& rotary = attend->rotary;
    const auto known = std::find(kinds_.begin(), kinds_.end(), *rotary);
    table_of_.push_back(known - kinds_.begin());
    if (known != kinds_.end()) continue;
    kinds_.push_back(*rotary);
    tables_.emplace_back(*rotary);
  }
}

void RopeTables::reserve(int64_t length, at::Device device) {
  for (RopeTable& table : tables_) table.ensure(length, device);
}

std::vector<Rotation> RopeTables::rotations(const RaggedInput& input,
                                            std::span<const int64_t> lengths) {
  std::vector<Rotation> rotations;
  for (RopeTable& table : tables_)
    rotations.push_back(table.rotation(input.positions, input.boundaries, lengths));
  return rotations;
}

const Rotation& RopeTables::of(const std::vector<Rotation>& rotations, int64_t layer) const {
  static const Rotation kNone;
  const int64_t table = table_of_[layer];
  return table < 0 ? kNone : rotations[table];
}

std::vector<int64_t> document_lengths(const RaggedInput& input, const CachedSequences* cached) {
  std::vector<int64_t> lengths;
  for (int64_t d = 0; d < input.documents(); ++d)
    lengths.push_back((cached ? cached->cache.length(cached->ids[d]) : 0) + input.length(d));
  return lengths;
}

at::Tensor embed_tokens(const ModelSpec& spec, const at::Tensor& embedded,
                        const at::Tensor& positions, const RaggedInput& input,
                        std::span<const int64_t> lengths) {
  const auto& [vocabulary, hidden, scale, learned] = spec.embedding;
  at::Tensor x = embedded.to(at::kFloat);
  if (scale != 1) x = x * scale;
  if (!positions.defined()) return x;
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  if (longest > learned) {
    throw Error(
        fmt::format("a document of {} tokens is longer than the model's {} learned positions",
                    longest, learned),
        "Shorten it, or limit new tokens.");
  }
  return x + at::embedding(positions, input.positions).to(at::kFloat);
}

}  // namespace continuo
