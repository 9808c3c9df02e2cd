#include "nn/kv_cache.h"

#include <algorithm>

namespace continuo {

int64_t KeyLayer::bytes_per_token() const {
  const int64_t values = kv_heads * (key_dim + value_dim);
  switch (format) {
    case KVFormat::f32:
      return 4 * values;
    case KVFormat::bf16:
      return 2 * values;
    case KVFormat::q8:
      return values + 2 * kv_heads * static_cast<int64_t>(sizeof(float));
  }
  return 0;
}

std::vector<LayerCache> cache_layout(const ModelSpec& spec, KVFormat format) {
  std::vector<LayerCache> layers;
  for (const BlockSpec& block : spec.blocks) {
    if (const auto* attend = std::get_if<Attend>(&block.mixer)) {
      layers.emplace_back(KeyLayer{.kv_heads = attend->kv_heads,
                                   .key_dim = attend->dim,
                                   .value_dim = attend->dim,
                                   .window = attend->window,
                                   .format = format});
    } else {
      constexpr int64_t kSlack = 32;  // so far a sequence can be cut back without loss
      const int64_t seen = std::get<Convolve>(block.mixer).kernel - 1;
      layers.emplace_back(
          StateLayer{.width = spec.embedding.hidden, .seen = seen, .held = seen + kSlack});
    }
  }
  return layers;
}

double cache_bytes(std::span<const LayerCache> layers, double length) {
  double bytes = 0;
  for (const LayerCache& layer : layers) {
    if (const auto* state = std::get_if<StateLayer>(&layer)) {
      bytes += static_cast<double>(state->bytes());
      continue;
    }
    const KeyLayer& keys = std::get<KeyLayer>(layer);
    const double held =
        keys.window > 0 ? std::min(length, static_cast<double>(keys.window)) : length;
    bytes += held * static_cast<double>(keys.bytes_per_token());
  }
  return bytes;
}

int64_t KVCache::add() {
  const auto free = std::find_if(sequences_.begin(), sequences_.end(),
                                 [](const Sequence& sequence) { return !sequence.live; });
  const int64_t id = free - sequences_.begin();
  if (free == sequences_.end()) sequences_.emplace_back();
  sequences_[id] = {.length = 0, .longest = 0, .live = true};
  added(id);
  return id;
}

int64_t KVCache::fork(int64_t sequence) {
  const int64_t copy = add();
  sequences_[copy] = sequences_[sequence];
  forked(sequence, copy);
  return copy;
}

void KVCache::remove(int64_t sequence) {
  sequences_[sequence] = {};
  removed(sequence);
}

int64_t KVCache::truncate(int64_t sequence, int64_t length) {
  auto& [held, longest, live] = sequences_[sequence];
  if (length < held) held = shortened(sequence, length);
  if (held == 0) longest = 0;
  return held;
}

bool KVCache::remembers(const StateLayer& layer, int64_t sequence, int64_t length) const {
  const auto since = [](int64_t position) { return std::max<int64_t>(0, position); };
  return length == 0 ||
         since(length - layer.seen) >= since(sequences_[sequence].longest - layer.held);
}

void KVCache::commit(int64_t sequence, int64_t count) {
  auto& [length, longest, live] = sequences_[sequence];
  length += count;
  longest = std::max(longest, length);
  grown(sequence);
}

}  // namespace continuo
