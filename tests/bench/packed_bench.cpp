#include "bench/kernel_bench.h"

namespace continuo::bench {
namespace {

// Activations in every form that a format reads.
struct Activations {
  Activations(const PackedKernels& kernels, int64_t rows, int64_t in)
      : floats(values<float>(rows * in)),
        halves(rows * in),
        integers(rows * in),
        scales(rows * in / kQuantBlock),
        offsets(rows * in / kQuantBlock) {
    kernels.round(rows * in, floats.data(), halves.data());
    kernels.quantise(rows * in, floats.data(), integers.data(), scales.data(), offsets.data());
  }
  PackedInput input() const {
    return {floats.data(), halves.data(), integers.data(), scales.data(), offsets.data()};
  }

  std::vector<float> floats;
  std::vector<uint16_t> halves;
  std::vector<int8_t> integers;
  std::vector<float> scales;
  std::vector<int32_t> offsets;
};

std::vector<std::byte> packed(const PackedKernels& kernels, PanelFormat format, int64_t out,
                              int64_t in) {
  const auto weights = values<float>(kPanel * in);
  const float* rows[kPanel];
  for (int64_t r = 0; r < kPanel; ++r) rows[r] = weights.data() + r * in;
  std::vector<std::byte> data(out / kPanel * panel_bytes(format, in));
  if (panel_header(format) > 0) {
    std::vector<Exception> exceptions(kPanel * in);
    kernels.compress(format, in, rows, data.data(), exceptions.data(), std::ssize(exceptions));
  } else {
    kernels.pack(format, in, rows, data.data());
  }
  const int64_t bytes = panel_bytes(format, in);
  for (int64_t p = 1; p < out / kPanel; ++p)
    std::copy_n(data.begin(), bytes, data.begin() + p * bytes);
  return data;
}

// A matrix larger than the caches near the core: [6144, 576].
template <PanelFormat format, int64_t rows>
void product(benchmark::State& state, const Kernels& kernels) {
  constexpr int64_t kOut = 4 * kIntermediate;
  const PackedKernels& k = kernels.packed;
  const std::vector<std::byte> data = packed(k, format, kOut, kHidden);
  const Activations x(k, rows, kHidden);
  std::vector<float> y(rows * kOut);
  const PackedProduct product = {.format = format,
                                 .rows = rows,
                                 .in = kHidden,
                                 .x = x.input(),
                                 .data = data.data(),
                                 .y = y.data(),
                                 .stride_y = kOut};
  measure(state, {.bytes = static_cast<int64_t>(data.size()), .flop = 2 * rows * kOut * kHidden},
          [&] { k.product(product, 0, kOut / kPanel); });
}

template <PanelFormat format>
void pack(benchmark::State& state, const Kernels& kernels) {
  measure(state, {.bytes = kPanel * kHidden * 4 + panel_bytes(format, kHidden)},
          [&] { packed(kernels.packed, format, kPanel, kHidden); });
}

template <PanelFormat format>
void unpack(benchmark::State& state, const Kernels& kernels) {
  const std::vector<std::byte> data = packed(kernels.packed, format, kPanel, kHidden);
  std::vector<float> row(kHidden);
  measure(state, {.bytes = panel_bytes(format, kHidden) / kPanel + kHidden * 4},
          [&] { kernels.packed.unpack(format, kHidden, data.data(), 7, row.data()); });
}

void round(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(kHidden * 32);
  std::vector<uint16_t> y(x.size());
  measure(state, {.bytes = std::ssize(x) * 6},
          [&] { kernels.packed.round(std::ssize(x), x.data(), y.data()); });
}

void quantise(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(kHidden * 32);
  std::vector<int8_t> y(x.size());
  std::vector<float> scales(x.size() / kQuantBlock);
  std::vector<int32_t> offsets(x.size() / kQuantBlock);
  measure(state, {.bytes = std::ssize(x) * 5}, [&] {
    kernels.packed.quantise(std::ssize(x), x.data(), y.data(), scales.data(), offsets.data());
  });
}

template <PanelFormat format>
void add_format(std::vector<KernelBench>& table, const std::string& name) {
  table.insert(table.end(), {{"product/" + name + "/1_row", product<format, 1>},
                             {"product/" + name + "/8_rows", product<format, 8>},
                             {"product/" + name + "/16_rows", product<format, 16>},
                             {"product/" + name + "/32_rows", product<format, 32>},
                             {"pack/" + name, pack<format>},
                             {"unpack/" + name, unpack<format>}});
}

}  // namespace

std::vector<KernelBench> packed_benches() {
  std::vector<KernelBench> table;
  add_format<PanelFormat::f32>(table, "f32");
  add_format<PanelFormat::bf16>(table, "bf16");
  add_format<PanelFormat::q8>(table, "q8");
  add_format<PanelFormat::q4>(table, "q4");
  for (const auto& [name, run] :
       std::initializer_list<KernelBench>{{"f32_in_28", product<PanelFormat::f32_in_28, 1>},
                                          {"f32_in_12", product<PanelFormat::f32_in_12, 1>},
                                          {"bf16_in_12", product<PanelFormat::bf16_in_12, 1>}}) {
    table.push_back({"product/" + name + "/1_row", run});
  }
  table.push_back({"product/f32_in_12/16_rows", product<PanelFormat::f32_in_12, 16>});
  table.push_back({"product/f32_in_12/32_rows", product<PanelFormat::f32_in_12, 32>});
  table.insert(table.end(), {{"round", round}, {"quantise", quantise}});
  return table;
}

}  // namespace continuo::bench
