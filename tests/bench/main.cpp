// kernel_bench [--benchmark_filter=product/q8.*avx512]: every kernel with every instruction set
// that this CPU has, on one thread.
#include "bench/kernel_bench.h"

int main(int argc, char** argv) {
  using namespace continuo;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const auto& table : {bench::typed_benches(), bench::packed_benches(),
                            bench::machine_benches(), bench::attention_benches(),
                            bench::gemm_benches(), bench::row_benches(), bench::page_benches()}) {
    for (const bench::KernelBench& kernel : table) {
      for (const char* isa : {"portable", "avx2", "avx512", "avx512vnni"}) {
        if (const Kernels* kernels = kernels_for(isa)) {
          benchmark::RegisterBenchmark(
              (kernel.name + "/" + isa).c_str(),
              [run = kernel.run, kernels](benchmark::State& state) { run(state, *kernels); });
        }
      }
    }
  }
  benchmark::RunSpecifiedBenchmarks();
}
