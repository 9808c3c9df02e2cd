#include "bench/kernel_bench.h"

namespace continuo::bench {
namespace {

constexpr int64_t kBlock = 96;  // rows that a thread multiplies at once

template <class T>
struct Panels {
  explicit Panels(const GemmKernels<T>& kernel)
      : a(values<T>(kBlock * kHidden)),
        b(values<T>(kIntermediate * kHidden)),
        left((kBlock + kernel.rows) * kHidden * kernel.element),
        right((kIntermediate + kernel.columns) * kHidden * kernel.element),
        c(kBlock * kIntermediate) {}
  std::vector<T> a, b;
  std::vector<std::byte> left, right;
  std::vector<float> c;
};

template <class T>
void multiply(benchmark::State& state, const Kernels& kernels) {
  const GemmKernels<T>& kernel = kernels.gemm<T>();
  Panels<T> p(kernel);
  kernel.pack_left({Along::rows, kBlock, kHidden, p.a.data(), kHidden}, kHidden, p.left.data());
  kernel.pack_right({Along::rows, kIntermediate, kHidden, p.b.data(), kHidden}, kHidden,
                    p.right.data());
  measure(state, {.flop = 2 * kBlock * kIntermediate * kHidden}, [&] {
    for (int64_t n = 0; n < kIntermediate; n += kernel.columns) {
      kernel.multiply_float({.along = Along::rows,
                             .rows = kBlock,
                             .columns = kernel.columns,
                             .packed_k = kHidden,
                             .left = p.left.data(),
                             .right = p.right.data() + n * kHidden * kernel.element,
                             .c = p.c.data() + n,
                             .stride = kIntermediate,
                             .add = false});
    }
  });
}

// Read and written.
template <class T>
int64_t packing_bytes(const GemmKernels<T>& kernel, int64_t rows) {
  return rows * kHidden * (static_cast<int64_t>(sizeof(T)) + kernel.element);
}

template <class T, Along along>
void pack_left(benchmark::State& state, const Kernels& kernels) {
  const GemmKernels<T>& kernel = kernels.gemm<T>();
  Panels<T> p(kernel);
  const int64_t stride = along == Along::rows ? kHidden : kBlock;
  measure(state, {.bytes = packing_bytes(kernel, kBlock)}, [&] {
    kernel.pack_left({along, kBlock, kHidden, p.a.data(), stride}, kHidden, p.left.data());
  });
}

template <class T, Along along>
void pack_right(benchmark::State& state, const Kernels& kernels) {
  const GemmKernels<T>& kernel = kernels.gemm<T>();
  Panels<T> p(kernel);
  const int64_t stride = along == Along::rows ? kHidden : kIntermediate;
  measure(state, {.bytes = packing_bytes(kernel, kIntermediate)}, [&] {
    kernel.pack_right({along, kIntermediate, kHidden, p.b.data(), stride}, kHidden, p.right.data());
  });
}

template <class T>
void add_type(std::vector<KernelBench>& table, const std::string& type) {
  table.insert(table.end(), {{"gemm/" + type, multiply<T>},
                             {"gemm_pack_left/rows/" + type, pack_left<T, Along::rows>},
                             {"gemm_pack_left/columns/" + type, pack_left<T, Along::columns>},
                             {"gemm_pack_right/rows/" + type, pack_right<T, Along::rows>},
                             {"gemm_pack_right/columns/" + type, pack_right<T, Along::columns>}});
}

}  // namespace

std::vector<KernelBench> gemm_benches() {
  std::vector<KernelBench> table;
  add_type<float>(table, "f32");
  add_type<uint16_t>(table, "bf16");
  return table;
}

}  // namespace continuo::bench
