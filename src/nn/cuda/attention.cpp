#include <algorithm>

#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "core/error.h"
#include "nn/aten/ops.h"
#include "nn/cuda/ops.h"
#include "nn/cuda/slot_cache.h"
#include "nn/upload.h"

namespace continuo::cuda {

namespace {

bool fits_flash(const AttendInput& in) {
  const bool narrow = in.q.scalar_type() == at::kBFloat16 || in.q.scalar_type() == at::kHalf;
  return narrow && attends_in_one_kernel(in.q.size(2), in.options.softcap);
}

at::Tensor offsets_of(const AttendInput& in) {
  return in.offsets.defined() ? in.offsets : offset_tensor(in.boundaries, in.q.device());
}

int64_t longest_of(const AttendInput& in) {
  int64_t longest = 0;
  for (size_t d = 0; d + 1 < in.boundaries.size(); ++d)
    longest = std::max(longest, in.boundaries[d + 1] - in.boundaries[d]);
  return longest;
}

// The operator counts the tokens before a query that it sees, a window of ours the query as well.
std::optional<int64_t> left_of(const AttendOptions& options) {
  return options.window > 0 ? std::optional(options.window - 1) : std::nullopt;
}

}  // namespace

// What LibTorch's operator takes; it knows no soft caps (its backward pass has the constant 0).
bool attends_in_one_kernel(int64_t dim, double softcap) {
  return softcap == 0 && dim % 8 == 0 && dim <= 256;
}

AttendValues attend(const AttendInput& in) {
  if (!fits_flash(in)) return aten::attend(in);
  const at::Tensor offsets = offsets_of(in);
  const int64_t longest = longest_of(in);
  auto values = at::_flash_attention_forward(
      in.q, in.k, in.v, offsets, offsets, longest, longest, /*dropout_p=*/0, /*is_causal=*/true,
      /*return_debug_mask=*/false, in.options.scale, left_of(in.options), std::nullopt);
  return {std::get<0>(values), std::get<1>(values)};
}

AttendGradients attend_backward(const AttendInput& in, const AttendValues& values,
                                const at::Tensor& dout) {
  if (!fits_flash(in)) return aten::attend_backward(in, values, dout);
  const at::Tensor offsets = offsets_of(in);
  const int64_t longest = longest_of(in);
  // Without dropout the operator looks at neither of these two.
  const at::Tensor noise = at::empty({2}, in.q.options().dtype(at::kUInt64));
  auto [q, k, v] = at::_flash_attention_backward(
      dout, in.q, in.k, in.v, values.out, values.lse, offsets, offsets, longest, longest,
      /*dropout_p=*/0, /*is_causal=*/true, noise, noise, in.options.scale, left_of(in.options),
      std::nullopt);
  return {q, k, v};
}

std::unique_ptr<KVCache> make_cache(std::span<const LayerCache> layers, at::Device device) {
  const auto in_slots = [](const LayerCache& layer) {
    const auto* keys = std::get_if<KeyLayer>(&layer);
    return keys && keys->format == KVFormat::bf16;
  };
  if (!std::ranges::all_of(layers, in_slots)) return aten::make_cache(layers, device);
  return std::make_unique<SlotCache>(layers, device);
}

at::Tensor attend_cached(const AttendInput& in, const CachedSequences& cached, int64_t layer) {
  auto* cache = dynamic_cast<SlotCache*>(&cached.cache);
  if (!cache) return aten::attend_cached(in, cached, layer);
  const SlotPlan& plan = cache->plan(cached.ids, in.boundaries);
  const SlotCache::Layer& held = cache->layer(layer);
  held.keys.index_copy_(0, plan.rows, in.k);
  held.values.index_copy_(0, plan.rows, in.v);
  if (fits_flash(in)) {
    auto values = at::_flash_attention_forward(
        in.q, held.keys, held.values, offsets_of(in), plan.starts, longest_of(in), plan.longest,
        /*dropout_p=*/0, /*is_causal=*/true, /*return_debug_mask=*/false, in.options.scale,
        left_of(in.options), std::nullopt, plan.lengths);
    return std::get<0>(values);
  }
  at::Tensor out = at::empty_like(in.q);
  for (int64_t d = 0; d < std::ssize(cached.ids); ++d) {
    const int64_t past = cache->length(cached.ids[d]),
                  end = past + in.boundaries[d + 1] - in.boundaries[d],
                  start = cache->start(cached.ids[d]);
    const auto heads_first = [&](const at::Tensor& x) {
      return x.narrow(0, start, end).transpose(0, 1);
    };
    aten::attend_document(in, d, past, heads_first(held.keys), heads_first(held.values), out);
  }
  return out;
}

}  // namespace continuo::cuda
