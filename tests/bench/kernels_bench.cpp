#include <numeric>

#include "bench/kernel_bench.h"

namespace continuo::bench {
namespace {

constexpr int64_t kFloat = sizeof(float);

template <class T>
void add_rms_norm(benchmark::State& state, const Kernels& kernels) {
  const auto residual = values<float>(kRows * kHidden), weight = values<float>(kHidden);
  const auto delta = values<T>(kRows * kHidden);
  std::vector<float> sum(kRows * kHidden), rstd(kRows);
  std::vector<T> y(kRows * kHidden);
  const int64_t n = kRows * kHidden;
  const RmsNormRows<T> norm = {.rows = kRows,
                               .hidden = kHidden,
                               .residual = residual.data(),
                               .delta = delta.data(),
                               .weight = weight.data(),
                               .eps = 1e-5f,
                               .sum = sum.data(),
                               .y = y.data(),
                               .rstd = rstd.data()};
  measure(state, {.bytes = n * (2 * kFloat + 2 * static_cast<int64_t>(sizeof(T))), .flop = 5 * n},
          [&] { kernels.typed<T>().add_rms_norm(norm); });
}

template <class T>
void add_rms_norm_backward(benchmark::State& state, const Kernels& kernels) {
  const int64_t n = kRows * kHidden;
  const auto dy = values<T>(n);
  const auto dsum = values<float>(n), sum = values<float>(n), weight = values<float>(kHidden);
  const std::vector<float> rstd(kRows, 1.4f);
  std::vector<float> dx(n), dweight(kHidden);
  std::vector<T> ddelta(n);
  const RmsNormRowsBackward<T> norm = {.rows = kRows,
                                       .hidden = kHidden,
                                       .dy = dy.data(),
                                       .dsum = dsum.data(),
                                       .sum = sum.data(),
                                       .weight = weight.data(),
                                       .rstd = rstd.data(),
                                       .dx = dx.data(),
                                       .ddelta = ddelta.data(),
                                       .dweight = dweight.data()};
  measure(state, {.bytes = n * (3 * kFloat + 2 * static_cast<int64_t>(sizeof(T))), .flop = 10 * n},
          [&] { kernels.typed<T>().add_rms_norm_backward(norm); });
}

template <class T>
void rope(benchmark::State& state, const Kernels& kernels) {
  const int64_t n = kRows * kHeads * kDim;
  const auto in = values<T>(n);
  const auto cos = values<float>(kRows * kDim / 2), sin = values<float>(kRows * kDim / 2);
  std::vector<int64_t> positions(kRows);
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<T> out(n);
  const RopeRows<T> rows = {.rows = kRows,
                            .heads = kHeads,
                            .dim = kDim,
                            .in = in.data(),
                            .positions = positions.data(),
                            .cos = cos.data(),
                            .sin = sin.data(),
                            .sign = 1,
                            .out = out.data()};
  measure(state, {.bytes = 2 * n * static_cast<int64_t>(sizeof(T)), .flop = 3 * n},
          [&] { kernels.typed<T>().rope(rows); });
}

template <class T>
void swiglu(benchmark::State& state, const Kernels& kernels) {
  const int64_t n = kRows * kIntermediate;
  const auto gate = values<T>(n), up = values<T>(n);
  std::vector<T> out(n);
  measure(state, {.bytes = 3 * n * static_cast<int64_t>(sizeof(T))},
          [&] { kernels.typed<T>().swiglu(n, gate.data(), up.data(), out.data()); });
}

template <class T>
void swiglu_backward(benchmark::State& state, const Kernels& kernels) {
  const int64_t n = kRows * kIntermediate;
  const auto dout = values<T>(n), gate = values<T>(n), up = values<T>(n);
  std::vector<T> dgate(n), dup(n);
  measure(state, {.bytes = 5 * n * static_cast<int64_t>(sizeof(T))}, [&] {
    kernels.typed<T>().swiglu_backward(n, dout.data(), gate.data(), up.data(), dgate.data(),
                                       dup.data());
  });
}

// With its gradient, which takes the place of the logits: every call starts from what the last one
// left.
template <class T>
void cross_entropy(benchmark::State& state, const Kernels& kernels) {
  auto logits = values<T>(kVocabulary);
  measure(state, {.bytes = 3 * kVocabulary * static_cast<int64_t>(sizeof(T))}, [&] {
    benchmark::DoNotOptimize(kernels.typed<T>().cross_entropy(
        {.vocabulary = kVocabulary, .logits = logits.data(), .target = 7, .gradient = true}));
  });
}

template <class T>
void add_table(std::vector<KernelBench>& table, const std::string& type) {
  for (const auto& [name, run] : std::initializer_list<KernelBench>{
           {"add_rms_norm", add_rms_norm<T>},
           {"add_rms_norm_backward", add_rms_norm_backward<T>},
           {"rope", rope<T>},
           {"swiglu", swiglu<T>},
           {"swiglu_backward", swiglu_backward<T>},
           {"cross_entropy", cross_entropy<T>},
       }) {
    table.push_back({name + "/" + type, run});
  }
}

}  // namespace

std::vector<KernelBench> typed_benches() {
  std::vector<KernelBench> table;
  add_table<float>(table, "f32");
  add_table<uint16_t>(table, "bf16");
  return table;
}

}  // namespace continuo::bench
