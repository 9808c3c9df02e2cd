#include "nn/aten/kv_cache.h"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"

namespace continuo {

TensorKVCache::TensorKVCache(std::span<const LayerCache> layers, at::Device device)
    : layers_(layers.begin(), layers.end()), device_(device) {
  for (const LayerCache& layer : layers) {
    const auto* keys = std::get_if<KeyLayer>(&layer);
    if (keys && keys->format == KVFormat::q8) {
      throw Error("8-bit keys and values need the CPU's engine", "Leave `cache` at auto.");
    }
  }
}

void TensorKVCache::added(int64_t sequence) {
  if (sequence == std::ssize(storage_)) storage_.emplace_back();
  storage_[sequence].assign(layers_.size(), at::Tensor());
}

void TensorKVCache::forked(int64_t from, int64_t to) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (storage_[from][i].defined()) storage_[to][i] = storage_[from][i].clone();
  }
}

void TensorKVCache::make_room(int64_t sequence, int64_t length) {
  constexpr int64_t kChunk = 128;
  for (size_t i = 0; i < layers_.size(); ++i) {
    at::Tensor& held = storage_[sequence][i];
    if (const auto* state = std::get_if<StateLayer>(&layers_[i])) {
      if (!held.defined())
        held =
            at::zeros({state->held, state->width}, at::TensorOptions(at::kFloat).device(device_));
      continue;
    }
    const KeyLayer& layer = std::get<KeyLayer>(layers_[i]);
    const int64_t capacity = held.defined() ? held.size(2) : 0;
    if (length <= capacity) continue;
    // Growing by half keeps the copies linear in the final length.
    const int64_t grown =
        (std::max(length, capacity + capacity / 2) + kChunk - 1) / kChunk * kChunk;
    const at::ScalarType dtype = layer.format == KVFormat::bf16 ? at::kBFloat16 : at::kFloat;
    const at::Tensor storage = at::empty({2, layer.kv_heads, grown, layer.key_dim},
                                         at::TensorOptions(dtype).device(device_));
    if (capacity > 0) storage.narrow(2, 0, capacity).copy_(held);
    held = storage;
  }
}

int64_t TensorKVCache::shortened(int64_t sequence, int64_t asked) {
  const bool known = std::ranges::all_of(layers_, [&](const LayerCache& layer) {
    const auto* state = std::get_if<StateLayer>(&layer);
    return !state || remembers(*state, sequence, asked);
  });
  return known ? asked : 0;
}

int64_t TensorKVCache::bytes() const {
  int64_t total = 0;
  for (const std::vector<at::Tensor>& layers : storage_) {
    for (const at::Tensor& storage : layers) {
      if (storage.defined()) total += static_cast<int64_t>(storage.nbytes());
    }
  }
  return total;
}

}  // namespace continuo
