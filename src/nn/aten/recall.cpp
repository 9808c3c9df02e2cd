#include <algorithm>

#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "nn/aten/kv_cache.h"
#include "nn/aten/ops.h"
#include "nn/upload.h"

namespace continuo::aten {

at::Tensor recall(const at::Tensor& inputs, const std::vector<int64_t>& boundaries,
                  const CachedSequences& cached, int64_t layer) {
  auto* cache = dynamic_cast<TensorKVCache*>(&cached.cache);
  if (!cache) fail("the cache belongs to another backend");
  const auto& [width, seen, held] = std::get<StateLayer>(cache->layer(layer));
  const at::Tensor rows = inputs.to(at::kFloat);
  std::vector<at::Tensor> parts;
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    const int64_t past = cache->length(cached.ids[d]), begin = boundaries[d],
                  n = boundaries[d + 1] - begin;
    const at::Tensor& storage = cache->storage(cached.ids[d], layer);
    const auto places = [&](int64_t from, int64_t to) {
      std::vector<int64_t> all;
      for (int64_t p = from; p < to; ++p) all.push_back(p % held);
      return index_tensor(all, rows.device());
    };
    const int64_t known = std::min(seen, past), kept = std::min(n, held);
    if (known < seen) parts.push_back(at::zeros({seen - known, width}, rows.options()));
    if (known > 0) parts.push_back(storage.index_select(0, places(past - known, past)));
    parts.push_back(rows.narrow(0, begin, n));
    storage.index_copy_(0, places(past + n - kept, past + n),
                        rows.narrow(0, begin + n - kept, kept));
  }
  return at::cat(parts);
}

}  // namespace continuo::aten
