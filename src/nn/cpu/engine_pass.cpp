#include "nn/cpu/engine_pass.h"

#include <algorithm>

namespace continuo {

namespace {

// Queries of a tile: enough for a page to be worth its way into the second cache.
constexpr int64_t kTileQueries = 48;

struct Pages {
  int64_t first, last;
  int64_t count() const { return last - first; }
};

// Those that the rows of a tile see.
Pages pages_of(const AttentionTile& tile, int64_t window) {
  const int64_t seen = window > 0 ? std::max<int64_t>(0, tile.position - window + 1) : 0;
  return {seen / kPageKeys, (tile.position + tile.count - 1) / kPageKeys + 1};
}

AttentionPlan make_plan(const EnginePass::Kind& kind, const RaggedInput& input,
                        const EnginePass& pass, int64_t members) {
  const auto& [window, group, kv_heads] = kind;
  AttentionPlan plan;
  int64_t work = 0;  // rows times pages
  for (int64_t d = 0; d < input.documents(); ++d) {
    const int64_t step = std::max<int64_t>(1, kTileQueries / group);
    for (int64_t row = input.boundaries[d]; row < input.boundaries[d + 1]; row += step) {
      plan.tiles.push_back({.document = d,
                            .row = row,
                            .count = std::min(step, input.boundaries[d + 1] - row),
                            .position = pass.positions[row],
                            .units = 1});
      work += plan.tiles.back().count * pages_of(plan.tiles.back(), window).count();
    }
  }
  for (int64_t t = 0; t < std::ssize(plan.tiles); ++t) {
    AttentionTile& tile = plan.tiles[t];
    const Pages pages = pages_of(tile, window);
    // A head of a tile that is more than a quarter of a member's share, as a slice of a long prompt
    // beside single tokens is, would keep the others waiting: its pages are dealt apart. The same
    // sums, as pages are merged in one order either way.
    const bool heavy = 4 * members * tile.count * pages.count() > kv_heads * work;
    if (!heavy || pages.count() == 1) {
      plan.units.push_back({t, pages.first, pages.last, 0});
      continue;
    }
    tile.units = pages.count();
    tile.first_query = plan.queries;
    plan.queries += tile.units * tile.count * group;
    for (int64_t p = pages.first; p < pages.last; ++p)
      plan.units.push_back({t, p, p + 1, p - pages.first});
  }
  return plan;
}

}  // namespace

EnginePass::EnginePass(const ModelSpec& spec, const RaggedInput& input, PagedKVCache& paged,
                       std::span<const int64_t> ids, int64_t members)
    : rows(input.boundaries.back()), cache(paged), sequences(ids) {
  for (int64_t d = 0; d < input.documents(); ++d) {
    single = single && input.length(d) == 1;
    for (int64_t i = 0; i < input.length(d); ++i) {
      positions.push_back(cache.length(sequences[d]) + i);
      documents.push_back(d);
    }
  }
  for (const BlockSpec& block : spec.blocks) {
    const auto* attend = std::get_if<Attend>(&block.mixer);
    if (!attend) {
      plan_of.push_back(-1);
      continue;
    }
    const Kind kind = {attend->window, attend->heads / attend->kv_heads, attend->kv_heads};
    const auto known = std::find(kinds.begin(), kinds.end(), kind);
    plan_of.push_back(known - kinds.begin());
    if (known != kinds.end()) continue;
    kinds.push_back(kind);
    plans.push_back(make_plan(kind, input, *this, members));
  }
}

void AttentionScratch::fit(int64_t queries, int64_t key_dim, int64_t value_dim) {
  continuo::fit(query, queries * key_dim);
  continuo::fit(scores, page_scratch(key_dim));
  continuo::fit(page_out, queries * padded_dim(value_dim));
  continuo::fit(out, queries * padded_dim(value_dim));
  const auto count = static_cast<size_t>(queries);
  if (ranges.size() < count) ranges.resize(count);
  if (page_parts.size() < count) page_parts.resize(count), parts.resize(count);
}

}  // namespace continuo
