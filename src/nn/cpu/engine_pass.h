// What the CPU's engine knows of the pass that it is in; for the engine's own files only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/cpu/kernels/page.h"
#include "nn/cpu/paged_cache.h"
#include "nn/model_spec.h"
#include "nn/ragged.h"
#include "nn/rope.h"

namespace continuo {

class EngineAdapter;

// Up to so many rows every member converts for itself, which is cheaper than a wait.
inline constexpr int64_t kAlone = 8;

// Grows only, zeros included: what lies between the values and their padded stride stays zero.
inline void fit(std::vector<float>& v, int64_t size) {
  if (static_cast<int64_t>(v.size()) < size) v.resize(size);
}

// Neighbouring rows of one document, whose queries go over its pages together.
struct AttentionTile {
  int64_t document, row, count;
  int64_t position;         // of the first row in its sequence
  int64_t units;            // how many its pages are split into
  int64_t first_query = 0;  // of its parts, where there are several units
};

// Pages [first_page, last_page) of a tile; with one KV head what one member does at once.
struct AttentionUnit {
  int64_t tile, first_page, last_page, index;  // index of the tile's units
};

// How the rows of a pass attend in layers that are alike.
struct AttentionPlan {
  std::vector<AttentionTile> tiles;
  std::vector<AttentionUnit> units;
  int64_t queries = 0;  // of the parts of split tiles, for one KV head
};

// Neighbouring rows with the same adapter.
struct AdapterRun {
  const EngineAdapter* adapter;
  int64_t begin, end;
};

// Rows that one product multiplies.
struct EngineRows {
  int64_t count;
  std::span<const AdapterRun> adapted;
};

// What the router chose for a row.
struct ExpertChoice {
  int64_t expert;
  float share;
};

struct EnginePass {
  // Layers are alike when this is equal.
  struct Kind {
    int64_t window, group, kv_heads;
    bool operator==(const Kind&) const = default;
  };

  EnginePass(const ModelSpec& spec, const RaggedInput& input, PagedKVCache& cache,
             std::span<const int64_t> sequences, int64_t members);

  int64_t rows = 0;
  PagedKVCache& cache;
  std::span<const int64_t> sequences;
  std::vector<int64_t> positions;  // of each row in its sequence
  std::vector<int64_t> documents;  // of each row
  bool single = true;  // no document has more than one row: none reads what another one writes
  std::vector<Kind> kinds;
  std::vector<AttentionPlan> plans;             // by kind
  std::vector<int64_t> plan_of;                 // by layer; of those that attend
  std::vector<const Rotation*> rotations = {};  // by layer, null where it does not rotate
  std::vector<AdapterRun> adapted = {};
  float* out = nullptr;  // [rows, hidden]

  EngineRows all_rows() const { return {rows, adapted}; }
  const AttentionPlan& plan(int64_t layer) const { return plans[plan_of[layer]]; }
};

// A member's memory for the attention of one unit.
struct AttentionScratch {
  std::vector<float> query, scores, page_out, out;
  std::vector<KeyRange> ranges;
  std::vector<AttentionPart> page_parts, parts;

  void fit(int64_t queries, int64_t key_dim, int64_t value_dim);
};

}  // namespace continuo
