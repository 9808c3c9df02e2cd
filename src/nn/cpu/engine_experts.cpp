// The mixture of experts of the CPU's engine: experts one after the other, each with the rows that
// chose it.
#include <algorithm>
#include <cmath>

#include "nn/cpu/engine_multiply.h"
#include "nn/cpu/kernels/kernels.h"

namespace continuo {

// Sets a row's choices from the router's results: the largest, of equal ones the first, in the
// experts' order.
void CpuEngine::choose_experts(const EngineExperts& e, int64_t row) {
  const auto& [count, chosen, expert, normalised] = e.spec;
  const float* logits = routed_.data() + row * matrices_[e.router].stride_out();
  std::vector<ExpertChoice> all;
  for (int64_t i = 0; i < count; ++i) all.push_back({i, logits[i]});
  const auto more = [](const ExpertChoice& a, const ExpertChoice& b) {
    return a.share > b.share || (a.share == b.share && a.expert < b.expert);
  };
  std::partial_sort(all.begin(), all.begin() + chosen, all.end(), more);
  const float largest = all[0].share;
  float total = 0, total_chosen = 0;
  for (ExpertChoice& choice : all) total += choice.share = std::exp(choice.share - largest);
  for (int64_t i = 0; i < chosen; ++i) total_chosen += all[i].share;
  ExpertChoice* choices = choices_.data() + row * chosen;
  std::copy_n(all.begin(), chosen, choices);
  std::sort(choices, choices + chosen,
            [](const ExpertChoice& a, const ExpertChoice& b) { return a.expert < b.expert; });
  for (int64_t i = 0; i < chosen; ++i) choices[i].share /= normalised ? total_chosen : total;
}

void CpuEngine::run_expert(const EnginePass& pass, const EngineExperts& e, int64_t expert,
                           const Team::Member& member) {
  const int64_t chosen = e.spec.chosen, hidden = spec().embedding.hidden,
                stride = packed_inputs(hidden);
  std::vector<int64_t> rows;
  std::vector<float> shares;
  for (int64_t i = 0; i < pass.rows * chosen; ++i) {
    if (choices_[i].expert != expert) continue;
    rows.push_back(i / chosen);
    shares.push_back(choices_[i].share);
  }
  if (rows.empty()) return;
  const int64_t count = std::ssize(rows);
  // The rows of each adapter, which lie together here too.
  std::vector<AdapterRun> adapted;
  for (const AdapterRun& run : pass.adapted) {
    const auto place = [&](int64_t row) {
      return std::lower_bound(rows.begin(), rows.end(), row) - rows.begin();
    };
    const int64_t begin = place(run.begin), end = place(run.end);
    if (begin < end) adapted.push_back({run.adapter, begin, end});
  }
  const EngineDense& dense = e.experts[expert];
  const float* all = normalised(pass, member);
  float* x = count <= kAlone ? scratch_[member.rank].gathered.data() : gathered_.data();
  multiply(
      {count, adapted}, {dense.in, x, gate_up_.data()}, member,
      [&](int64_t r) { std::copy_n(all + rows[r] * stride, stride, x + r * stride); },
      [&](int64_t begin, int64_t end) { multiply_gate(count, dense, begin, end); });
  member.wait(share(dense.out, member));
  multiply(
      {count, adapted}, {dense.out, result_.data(), product_.data()}, member, [](int64_t) {},
      [](int64_t, int64_t) {});
  member.wait();
  // Each member adds to rows of its own.
  for (int64_t r = 0; r < count; ++r) {
    if (rows[r] < member.begin(pass.rows) || rows[r] >= member.end(pass.rows)) continue;
    float* to = experts_sum_.data() + rows[r] * hidden;
    float* from = product_.data() + r * matrices_[dense.out].stride_out();
    for (size_t i = 0; i < dense.down_bias.size(); ++i) from[i] += dense.down_bias[i];
    for (int64_t i = 0; i < hidden; ++i) to[i] += shares[r] * from[i];
  }
}

// Sets experts_sum_ to what the rows' experts give, in the experts' order.
void CpuEngine::mix_experts(const EnginePass& pass, const EngineLayer& l,
                            const Team::Member& member) {
  const EngineExperts& e = std::get<EngineExperts>(l.mlp);
  const int64_t hidden = spec().embedding.hidden;
  read_stream(pass, l.mlp_norm, e.router, routed_.data(), member, [](int64_t, int64_t) {});
  member.wait();
  for (int64_t r = member.begin(pass.rows); r < member.end(pass.rows); ++r) {
    choose_experts(e, r);
    std::fill_n(experts_sum_.data() + r * hidden, hidden, 0.0f);
  }
  member.wait();
  for (int64_t expert = 0; expert < e.spec.count; ++expert) run_expert(pass, e, expert, member);
}

}  // namespace continuo
