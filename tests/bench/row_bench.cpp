#include "bench/kernel_bench.h"

namespace continuo::bench {
namespace {

constexpr int64_t kBytes = kVocabulary * static_cast<int64_t>(sizeof(float));

void summary(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(kVocabulary);
  std::vector<float> block_max(row_blocks(kVocabulary));
  measure(state, {.bytes = kBytes}, [&] {
    benchmark::DoNotOptimize(kernels.row.summary(kVocabulary, x.data(), block_max.data()));
  });
}

void reaching(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(kVocabulary);
  std::vector<float> block_max(row_blocks(kVocabulary));
  std::vector<int32_t> hits(kVocabulary + 1);
  const float bar = kernels.row.summary(kVocabulary, x.data(), block_max.data()).max * 0.9f;
  measure(state, {.bytes = kBytes}, [&] {
    benchmark::DoNotOptimize(
        kernels.row.reaching(kVocabulary, x.data(), block_max.data(), bar, hits.data()));
  });
}

void exp_sums(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(kVocabulary);
  measure(state, {.bytes = kBytes}, [&] {
    benchmark::DoNotOptimize(kernels.row.exp_sums(kVocabulary, x.data(), 1.0f, 1.0f, false));
  });
}

void deviations(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(kVocabulary);
  measure(state, {.bytes = kBytes},
          [&] { benchmark::DoNotOptimize(kernels.row.deviations(kVocabulary, x.data(), 0.1)); });
}

void gumbel_hits(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(kVocabulary);
  std::vector<int32_t> hits(kVocabulary + 1);
  const GumbelDraw draw = {.first = 0,
                           .n = kVocabulary,
                           .x = x.data(),
                           .max = 1.0f,
                           .scale = 1.0f,
                           .bar = 8.0f,
                           .key = {{1, 2}, 3}};
  measure(state, {.bytes = kBytes},
          [&] { benchmark::DoNotOptimize(kernels.row.gumbel_hits(draw, hits.data())); });
}

}  // namespace

std::vector<KernelBench> row_benches() {
  return {{"row_summary", summary},
          {"row_reaching", reaching},
          {"row_exp_sums", exp_sums},
          {"row_deviations", deviations},
          {"row_gumbel_hits", gumbel_hits}};
}

}  // namespace continuo::bench
