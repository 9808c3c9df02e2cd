#include "nn/cpu/paged_cache.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace continuo {

namespace {

// The smallest size class that holds so many tokens.
int64_t capacity_for(int64_t tokens) {
  int64_t capacity = 32;
  while (capacity < tokens) capacity *= 2;
  return capacity;
}

int64_t pages_for(int64_t length) { return (length + kPageKeys - 1) / kPageKeys; }

// The first page that tokens from `length` on see.
int64_t first_seen_page(const KeyLayer& layer, int64_t length) {
  return layer.window > 0 ? std::max<int64_t>(0, length - layer.window + 1) / kPageKeys : 0;
}

int64_t element_bytes(KVFormat format) {
  switch (format) {
    case KVFormat::f32:
      return 4;
    case KVFormat::bf16:
      return 2;
    case KVFormat::q8:
      return 1;
  }
  return 4;
}

}  // namespace

PagedKVCache::Page::Page(int64_t tokens, int64_t size, int64_t& sum)
    : capacity(tokens), bytes(size), total(sum) {
  constexpr size_t kLine = 64;
  const size_t whole = (static_cast<size_t>(size) + kLine - 1) / kLine * kLine;
  memory = static_cast<std::byte*>(std::aligned_alloc(kLine, whole));
  if (!memory) throw std::bad_alloc();
  std::memset(memory, 0, whole);
  total += bytes;
}

PagedKVCache::Page::~Page() {
  std::free(memory);
  total -= bytes;
}

PagedKVCache::PagedKVCache(std::span<const LayerCache> layers) {
  for (const LayerCache& layer : layers) {
    if (const auto* state = std::get_if<StateLayer>(&layer)) {
      layers_.push_back(
          {.spec = {}, .key_bytes = 0, .value_bytes = 0, .scale_bytes = 0, .state = *state});
      continue;
    }
    const KeyLayer& spec = std::get<KeyLayer>(layer);
    const int64_t size = element_bytes(spec.format);
    layers_.push_back(
        {.spec = spec,
         .key_bytes = key_width(spec.key_dim) * size,
         .value_bytes = padded_dim(spec.value_dim) * size,
         .scale_bytes = spec.format == KVFormat::q8 ? static_cast<int64_t>(sizeof(float)) : 0,
         .state = {}});
  }
}

PagedKVCache::HeadPage PagedKVCache::part(const Layer& layer, const Page& page,
                                          int64_t head) const {
  std::byte* keys = page.memory + head * page.capacity * layer.head_bytes();
  std::byte* values = keys + page.capacity * layer.key_bytes;
  auto* scales = reinterpret_cast<float*>(values + page.capacity * layer.value_bytes);
  return {keys, values, scales, scales + page.capacity};
}

PagedKVCache::HeadPage PagedKVCache::head_page(int64_t sequence, int64_t layer, int64_t page,
                                               int64_t head) const {
  return part(layers_[layer], *pages_[sequence][layer][page], head);
}

void PagedKVCache::added(int64_t sequence) {
  if (sequence == std::ssize(pages_)) pages_.emplace_back(), states_.emplace_back();
  pages_[sequence].assign(layers_.size(), {});
  states_[sequence].assign(layers_.size(), {});
}

void PagedKVCache::forked(int64_t from, int64_t to) {
  pages_[to] = pages_[from];
  states_[to] = states_[from];
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!states_[to][i].empty()) bytes_ += layers_[i].state->bytes();
  }
}

void PagedKVCache::removed(int64_t sequence) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!states_[sequence][i].empty()) bytes_ -= layers_[i].state->bytes();
  }
  pages_[sequence].clear();
  states_[sequence].clear();
}

std::shared_ptr<PagedKVCache::Page> PagedKVCache::copy_page(const Layer& layer, const Page* from,
                                                            int64_t held, int64_t capacity) {
  auto page =
      std::make_shared<Page>(capacity, capacity * layer.spec.kv_heads * layer.head_bytes(), bytes_);
  if (!from) return page;
  // Keys lie in groups of tokens, and values may in pairs, so the last group is copied whole.
  const int64_t tokens = (held + kKeyGroup - 1) / kKeyGroup * kKeyGroup;
  for (int64_t head = 0; head < layer.spec.kv_heads; ++head) {
    const HeadPage source = part(layer, *from, head), target = part(layer, *page, head);
    std::memcpy(target.keys, source.keys, tokens * layer.key_bytes);
    std::memcpy(target.values, source.values, tokens * layer.value_bytes);
    std::memcpy(target.key_scales, source.key_scales, held * layer.scale_bytes);
    std::memcpy(target.value_scales, source.value_scales, held * layer.scale_bytes);
  }
  return page;
}

void PagedKVCache::make_room(int64_t sequence, int64_t length) {
  const int64_t held = this->length(sequence);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (const std::optional<StateLayer>& state = layers_[i].state) {
      std::vector<float>& inputs = states_[sequence][i];
      if (inputs.empty()) {
        inputs.resize(state->held * state->width);
        bytes_ += state->bytes();
      }
      continue;
    }
    Pages& pages = pages_[sequence][i];
    const int64_t wanted = pages_for(length);
    if (std::ssize(pages) < wanted) pages.resize(wanted);
    for (int64_t p = held / kPageKeys; p < wanted; ++p) {
      const int64_t begin = p * kPageKeys, in_page = std::max<int64_t>(0, held - begin),
                    needed = std::min(kPageKeys, length - begin);
      std::shared_ptr<Page>& page = pages[p];
      if (page && page->capacity >= needed && page.use_count() == 1) continue;
      const int64_t capacity = capacity_for(std::max(needed, page ? page->capacity : 0));
      page = copy_page(layers_[i], page.get(), in_page, capacity);
    }
  }
}

int64_t PagedKVCache::shortened(int64_t sequence, int64_t asked) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::optional<StateLayer>& state = layers_[i].state;
    if (state && !remembers(*state, sequence, asked)) asked = 0;
    if (state) continue;
    Pages& pages = pages_[sequence][i];
    for (int64_t p = first_seen_page(layers_[i].spec, asked); p < pages_for(asked); ++p) {
      if (!pages[p]) asked = 0;  // what was freed can only be computed again, from the beginning
    }
  }
  for (Pages& pages : pages_[sequence]) pages.resize(std::min(std::ssize(pages), pages_for(asked)));
  return asked;
}

void PagedKVCache::grown(int64_t sequence) {
  constexpr int64_t kSlack = kPageKeys;  // so far a sequence can be cut back without loss
  for (size_t i = 0; i < layers_.size(); ++i) {
    Pages& pages = pages_[sequence][i];
    const int64_t seen =
        first_seen_page(layers_[i].spec, std::max<int64_t>(0, length(sequence) - kSlack));
    for (int64_t p = std::min(seen, std::ssize(pages)) - 1; p >= 0 && pages[p]; --p)
      pages[p].reset();
  }
}

}  // namespace continuo
