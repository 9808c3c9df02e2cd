#include "generate/cached_decoder.h"

#include <algorithm>

#include <ATen/ops/tensor.h>

#include "core/log.h"

namespace continuo {
namespace {

// Attention writes keys and values as it computes them, so the cache has the type of the products.
KVCache::Shape cache_shape(const Decoder& decoder) {
  const DecoderShape& shape = decoder.shape();
  const std::vector<at::Tensor> parameters = decoder.parameters();
  return {.layers = shape.layers,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim,
          .dtype = decoder.compute().dtype,
          .device = parameters.empty() ? at::Device(at::kCPU) : parameters.front().device()};
}

at::Tensor index_tensor(const std::vector<int64_t>& values, at::Device device) {
  return at::tensor(at::IntArrayRef(values), at::kLong).to(device);
}

// What a pass costs; these figures were measured with 1 … 16 sequences of a 135M model on two Zen 4
// cores.
struct FormatCost {
  PassTime time;
  double weight;  // time of a pass, relative to float32
};
FormatCost cost_of(WeightFormat format) {
  switch (format) {
    case WeightFormat::f32:
      return {{.extra = 0.07, .arithmetic = 0.23}, 1.0};
    case WeightFormat::bf16:
      return {{.extra = 0.14, .arithmetic = 0.24}, 0.52};
    case WeightFormat::q8:
      return {{.extra = 0.2, .arithmetic = 0.38}, 0.29};
    case WeightFormat::q4:
      return {{.extra = 0.3, .arithmetic = 0.54}, 0.17};
  }
  return {};
}

}  // namespace

CachedDecoder::CachedDecoder(Decoder& decoder, Keeps keeps)
    : decoder_(decoder), cache_(cache_shape(decoder)), keeps_(keeps) {}

int64_t CachedDecoder::begin(std::span<const TokenId> tokens) {
  if (kept_ < 0) return cache_.add();
  const auto differ =
      std::mismatch(tokens.begin(), tokens.end(), kept_tokens_.begin(), kept_tokens_.end());
  const int64_t shared =
      std::min<int64_t>(differ.first - tokens.begin(), static_cast<int64_t>(tokens.size()) - 1);
  const int64_t sequence = std::exchange(kept_, -1);
  if (shared <= 0) {
    cache_.remove(sequence);
    return cache_.add();
  }
  cache_.truncate(sequence, shared);
  log_debug("{} of the prompt's {} tokens are in the cache", shared, tokens.size());
  return sequence;
}

void CachedDecoder::end(int64_t sequence, std::span<const TokenId> tokens) {
  if (keeps_ == Keeps::kNothing) return cache_.remove(sequence);
  if (kept_ >= 0) cache_.remove(kept_);
  kept_ = sequence;
  const int64_t held = std::min(cache_.length(sequence), static_cast<int64_t>(tokens.size()));
  cache_.truncate(sequence, held);
  kept_tokens_.assign(tokens.begin(), tokens.begin() + held);
}

at::Tensor CachedDecoder::forward(std::span<const Piece> pieces) {
  std::vector<int64_t> tokens, positions, boundaries{0}, sequences;
  for (const Piece& piece : pieces) {
    const int64_t past = cache_.length(piece.sequence);
    for (size_t i = 0; i < piece.tokens.size(); ++i) {
      tokens.push_back(piece.tokens[i]);
      positions.push_back(past + static_cast<int64_t>(i));
    }
    sequences.push_back(piece.sequence);
    boundaries.push_back(static_cast<int64_t>(tokens.size()));
  }
  const at::Device device = cache_.shape().device;
  cache_.activate(std::move(sequences));
  return decoder_.forward({.tokens = index_tensor(tokens, device),
                           .positions = index_tensor(positions, device),
                           .boundaries = std::move(boundaries)},
                          &cache_);
}

at::Tensor CachedDecoder::prefill(int64_t sequence, std::span<const TokenId> tokens,
                                  int64_t chunk) {
  at::Tensor hidden;
  while (!tokens.empty()) {
    const size_t count = std::min(tokens.size(), static_cast<size_t>(chunk));
    hidden = forward(std::vector<Piece>{{sequence, tokens.first(count)}});
    tokens = tokens.subspan(count);
  }
  return hidden.narrow(0, hidden.size(0) - 1, 1);
}

at::Tensor CachedDecoder::logits(const at::Tensor& hidden) {
  return decoder_.logits(hidden).to(at::kCPU, at::kFloat).contiguous();
}

PassTime CachedDecoder::pass_time() const {
  if (cache_.shape().device.is_cpu()) return cost_of(decoder_.compute().weight_format()).time;
  return {.extra = 0.005, .arithmetic = 0};  // a few dozen rows are nearly free there
}

double CachedDecoder::pass_cost() const {
  double weights = 0;
  for (const at::Tensor& parameter : decoder_.parameters())
    weights += static_cast<double>(parameter.numel());
  return weights * cost_of(decoder_.compute().weight_format()).weight;
}

}  // namespace continuo
