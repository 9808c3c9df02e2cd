#include "bench/kernel_bench.h"

namespace continuo::bench {
namespace {

void read(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(int64_t{64} << 20);
  measure(state, {.bytes = std::ssize(x) * 4, .flop = std::ssize(x)},
          [&] { benchmark::DoNotOptimize(kernels.machine.read(std::ssize(x), x.data())); });
}

void multiply_add(benchmark::State& state, const Kernels& kernels) {
  constexpr int64_t kRounds = 1 << 16;
  measure(state, {.flop = 2 * kRounds * kernels.machine.multiply_adds},
          [&] { benchmark::DoNotOptimize(kernels.machine.multiply_add(kRounds)); });
}

}  // namespace

std::vector<KernelBench> machine_benches() {
  return {{"read", read}, {"multiply_add", multiply_add}};
}

}  // namespace continuo::bench
