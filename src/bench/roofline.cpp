#include "bench/roofline.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <unistd.h>

#include "core/process.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/packed_matrix.h"

namespace continuo {
namespace {

// `work` units a run, run again and again for about `seconds`; the first run warms up.
template <class F>
Rate measure_rate(double work, double seconds, const F& run) {
  run();
  std::vector<double> rates;
  for (const double begin = seconds_now(); rates.size() < 5 || seconds_now() - begin < seconds;) {
    const double start = seconds_now();
    run();
    rates.push_back(work / (seconds_now() - start));
  }
  std::ranges::sort(rates);
  return {.best = rates.back(), .median = rates[rates.size() / 2]};
}

// f(thread) on `threads` threads of LibTorch's.
template <class F>
void on_threads(int64_t threads, const F& f) {
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) f(t);
  });
}

}  // namespace

Rate measure_product(const ProductShape& shape, c10::ScalarType dtype, double seconds) {
  const c10::InferenceMode guard;
  const auto options = at::TensorOptions(dtype);
  const at::Tensor x = at::randn({shape.rows, shape.in}).to(options),
                   w = at::randn({shape.out, shape.in}).to(options);
  return measure_rate(shape.flop(), seconds, [&] { at::linear(x, w); });
}

Rate measure_read(int64_t bytes, int64_t threads, double seconds) {
  PanelArena arena(bytes);
  auto* numbers = reinterpret_cast<float*>(arena.take(bytes));
  const int64_t n = bytes / static_cast<int64_t>(sizeof(float));
  // Every thread reads a part of its own, and is the first to touch it: on machines of several
  // memories it lies near.
  const auto begin = [&](int64_t t) { return numbers + n * t / threads; };
  on_threads(threads, [&](int64_t t) { std::fill(begin(t), begin(t + 1), 1.0f); });
  std::vector<float> sums(threads);
  const Rate rate = measure_rate(static_cast<double>(n) * sizeof(float), seconds, [&] {
    on_threads(threads, [&](int64_t t) {
      sums[t] = kernels().machine.read(begin(t + 1) - begin(t), begin(t));
    });
  });
  TORCH_CHECK(std::accumulate(sums.begin(), sums.end(), 0.0) > 0,
              "the sum over the buffer is wrong");
  return rate;
}

int64_t uncached_bytes() {
  constexpr int64_t kMiB = 1 << 20;
  return std::clamp<int64_t>(2 * static_cast<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE)), 256 * kMiB,
                             1024 * kMiB);
}

double run_multiply_adds(int64_t threads) {
  const MachineKernels& machine = kernels().machine;
  constexpr int64_t kRounds = 1 << 20;
  std::atomic<float> sum{0};
  on_threads(threads, [&](int64_t) { sum.store(machine.multiply_add(kRounds)); });
  return 2.0 * static_cast<double>(kRounds * machine.multiply_adds * threads);
}

Rate measure_multiply_add(int64_t threads, double seconds) {
  const double flop = run_multiply_adds(threads);
  return measure_rate(flop, seconds, [&] { run_multiply_adds(threads); });
}

double product_roof(int64_t rows, int64_t hidden, int64_t intermediate, c10::ScalarType dtype) {
  double best = 0;
  for (const auto& [in, out] :
       {std::pair{hidden, intermediate}, {intermediate, hidden}, {hidden, hidden}}) {
    best = std::max(best, measure_product({rows, in, out}, dtype, 0.3).best);
  }
  return best;
}

double read_roof() { return measure_read(uncached_bytes(), at::get_num_threads(), 0.7).best; }

}  // namespace continuo
