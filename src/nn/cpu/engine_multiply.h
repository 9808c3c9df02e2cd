// The products of the CPU's engine's stages; for the engine's own files only.
#pragma once

#include "nn/cpu/engine.h"

namespace continuo {

// Returns the rows that a product reads. make(r) computes row r of x where it is not there yet;
// then the rows are converted to what the panels' format reads. Every member does that for itself
// when there are few rows; many are shared out among all members.
template <class MakeRow>
PackedInput CpuEngine::gather(const PackedMatrix& w, int64_t rows, const float* x,
                              const Team::Member& member, const MakeRow& make) {
  const bool alone = rows <= kAlone || member.size == 1;
  PackedScratch& scratch = alone ? scratch_[member.rank].rows : shared_;
  const int64_t begin = alone ? 0 : member.begin(rows), end = alone ? rows : member.end(rows);
  for (int64_t r = begin; r < end; ++r) make(r);
  prepare(w, begin, end, x, scratch);
  if (!alone) member.wait(share(w, member));
  return prepared(x, scratch);
}

// Calls finish(begin, end) for runs of panels that are there.
template <class MakeRow, class Finished>
void CpuEngine::multiply(const EngineRows& rows, const Product& p, const Team::Member& member,
                         const MakeRow& make, const Finished& finish) {
  const PackedMatrix& w = matrices_[p.joint];
  const PackedInput input = gather(w, rows.count, p.x, member, make);
  for (const AdapterRun& run : rows.adapted) {
    const PackedMatrix& a = run.adapter->joint(p.joint).a;
    if (a.panels == 0) continue;
    product(a, run.end - run.begin, {.values = p.x + run.begin * w.stride_in()},
            member.begin(a.panels), member.end(a.panels),
            down_ranks_.data() + run.begin * run.adapter->widest());
  }
  if (!rows.adapted.empty()) member.wait();
  member.deal(w.panels, [&](int64_t begin, int64_t end) {
    product(w, rows.count, input, begin, end, p.y);
    for (const AdapterRun& run : rows.adapted) add_low_rank(run, p.joint, begin, end, p.y);
    finish(begin, end);
  });
}

// The first product of a sublayer: what it reads is the residual stream.
template <class Finished>
void CpuEngine::read_stream(const EnginePass& pass, const EngineNorm& norm, int64_t joint, float* y,
                            const Team::Member& member, const Finished& finish) {
  const int64_t stride = matrices_[joint].stride_in();
  float* x = normalised(pass, member);
  multiply(
      pass.all_rows(), {joint, x, y}, member, [&](int64_t r) { enter(norm, r, x + r * stride); },
      finish);
}

}  // namespace continuo
