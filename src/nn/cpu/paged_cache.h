// The CPU engine's cache: pages of at most kPageKeys tokens per sequence and layer, laid out as
// kernels/page.h says. A sequence's last page grows by size classes. Forks share pages until one of
// them writes into one; pages wholly behind a layer's window are freed. The inputs of a state are
// few, and each sequence has its own.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "nn/cpu/kernels/page.h"
#include "nn/kv_cache.h"

namespace continuo {

class PagedKVCache : public KVCache {
 public:
  explicit PagedKVCache(std::span<const LayerCache> layers);

  // Where one KV head of a page lies; scales of 8 bits alone.
  struct HeadPage {
    std::byte *keys, *values;
    float *key_scales, *value_scales;
  };
  HeadPage head_page(int64_t sequence, int64_t layer, int64_t page, int64_t head) const;
  const KeyLayer& layer(int64_t index) const { return layers_[index].spec; }
  const StateLayer& state_layer(int64_t index) const { return *layers_[index].state; }
  float* state(int64_t sequence, int64_t layer) {  // [held, width]
    return states_[sequence][layer].data();
  }

  int64_t bytes() const override { return bytes_; }

 private:
  struct Layer {
    KeyLayer spec;
    int64_t key_bytes, value_bytes, scale_bytes;  // of one token and head
    std::optional<StateLayer> state;              // then it has no keys

    int64_t head_bytes() const { return key_bytes + value_bytes + 2 * scale_bytes; }
  };
  struct Page {
    Page(int64_t tokens, int64_t size, int64_t& total);
    ~Page();
    Page(const Page&) = delete;
    Page& operator=(const Page&) = delete;

    int64_t capacity, bytes;
    int64_t& total;  // of the cache
    std::byte* memory;
  };
  using Pages = std::vector<std::shared_ptr<Page>>;  // null where freed behind a window

  void added(int64_t sequence) override;
  void forked(int64_t from, int64_t to) override;
  void removed(int64_t sequence) override;
  void make_room(int64_t sequence, int64_t length) override;
  int64_t shortened(int64_t sequence, int64_t asked) override;
  void grown(int64_t sequence) override;

  HeadPage part(const Layer& layer, const Page& page, int64_t head) const;
  // A page of its own that holds `capacity` tokens, the first `held` of them those of `from`.
  std::shared_ptr<Page> copy_page(const Layer& layer, const Page* from, int64_t held,
                                  int64_t capacity);

  std::vector<Layer> layers_;
  int64_t bytes_ = 0;
  std::vector<std::vector<Pages>> pages_;  // by sequence and layer
  std::vector<std::vector<std::vector<float>>> states_;
};

}  // namespace continuo
