#include "bench/kernel_bench.h"

namespace continuo::bench {
namespace {

// Rows of activations in every form that a format reads.
struct Rows {
  Rows(const PackedKernels& kernels, int64_t rows, int64_t in)
      : floats(values<float>(rows * in)),
        halves(rows * in),
        integers(rows * in),
        scales(rows * in / kQuantBlock),
        totals(rows * in / kQuantBlock),
        sums(rows * in / kQuantGroup) {
    kernels.round(rows * in, floats.data(), halves.data());
    kernels.quantise(rows * in, floats.data(), rounded());
  }
  RoundedInput rounded() { return {integers.data(), scales.data(), sums.data(), totals.data()}; }
  PackedInput input() const {
    return {floats.data(), halves.data(), integers.data(),
            scales.data(), sums.data(),   totals.data()};
  }

  std::vector<float> floats;
  std::vector<uint16_t> halves;
  std::vector<int8_t> integers;
  std::vector<float> scales, totals;
  std::vector<int32_t> sums;
};

// kPanel rows of a file's blocks. Upper bytes of 0x20 to 0x3b are those of finite halves, wherever
// the format has its factors.
std::vector<uint8_t> file_rows(PanelFormat format, int64_t in) {
  const BlockShape shape = block_shape(format);
  const int64_t of_block = shape.super ? kSuperBlock : kQuantBlock;
  std::vector<uint8_t> bytes(kPanel * in / of_block * file_block_bytes(shape));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(0x20 + i * 7 % 28);
  return bytes;
}

void lay_panel(const PackedKernels& kernels, PanelFormat format, int64_t in, std::byte* panel) {
  const std::vector<uint8_t> bytes = file_rows(format, in);
  const uint8_t* rows[kPanel];
  for (int64_t r = 0; r < kPanel; ++r) rows[r] = bytes.data() + r * std::ssize(bytes) / kPanel;
  kernels.lay(format, in, rows, panel);
}

void pack_panel(const PackedKernels& kernels, PanelFormat format, int64_t in, std::byte* panel) {
  const auto weights = values<float>(kPanel * in);
  const float* rows[kPanel];
  for (int64_t r = 0; r < kPanel; ++r) rows[r] = weights.data() + r * in;
  if (panel_header(format) > 0) {
    std::vector<Exception> exceptions(kPanel * in);
    kernels.compress(format, in, rows, panel, exceptions.data(), std::ssize(exceptions));
  } else {
    kernels.pack(format, in, rows, panel);
  }
}

// A matrix of equal panels.
std::vector<std::byte> packed(const PackedKernels& kernels, PanelFormat format, int64_t out,
                              int64_t in) {
  const int64_t bytes = panel_bytes(format, in);
  std::vector<std::byte> data(out / kPanel * bytes);
  is_stored(format) ? lay_panel(kernels, format, in, data.data())
                    : pack_panel(kernels, format, in, data.data());
  for (int64_t p = 1; p < out / kPanel; ++p)
    std::copy_n(data.begin(), bytes, data.begin() + p * bytes);
  return data;
}

// A matrix larger than the caches near the core: of SmolLM2's MLP, four times as many outputs. Its
// inputs are a multiple of 256 for the formats whose factors cover so many.
constexpr int64_t inputs_of(PanelFormat format) {
  return block_shape(format).super ? 2 * kSuperBlock : kHidden;
}

template <PanelFormat format, int64_t rows, Activations reads>
void product(benchmark::State& state, const Kernels& kernels) {
  constexpr int64_t kOut = 4 * kIntermediate, kIn = inputs_of(format);
  const PackedKernels& k = kernels.packed;
  const std::vector<std::byte> data = packed(k, format, kOut, kIn);
  const Rows x(k, rows, kIn);
  std::vector<float> y(rows * kOut);
  const PackedProduct product = {.format = format,
                                 .reads = reads,
                                 .rows = rows,
                                 .in = kIn,
                                 .x = x.input(),
                                 .data = data.data(),
                                 .y = y.data(),
                                 .stride_y = kOut};
  measure(state, {.bytes = static_cast<int64_t>(data.size()), .flop = 2 * rows * kOut * kIn},
          [&] { k.product(product, 0, kOut / kPanel); });
}

template <PanelFormat format>
void pack(benchmark::State& state, const Kernels& kernels) {
  constexpr int64_t kIn = inputs_of(format);
  measure(state, {.bytes = kPanel * kIn * 4 + panel_bytes(format, kIn)},
          [&] { packed(kernels.packed, format, kPanel, kIn); });
}

template <PanelFormat format>
void unpack(benchmark::State& state, const Kernels& kernels) {
  constexpr int64_t kIn = inputs_of(format);
  const std::vector<std::byte> data = packed(kernels.packed, format, kPanel, kIn);
  std::vector<float> row(kIn);
  measure(state, {.bytes = panel_bytes(format, kIn) / kPanel + kIn * 4},
          [&] { kernels.packed.unpack(format, kIn, data.data(), 7, row.data()); });
}

void round(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(kHidden * 32);
  std::vector<uint16_t> y(x.size());
  measure(state, {.bytes = std::ssize(x) * 6},
          [&] { kernels.packed.round(std::ssize(x), x.data(), y.data()); });
}

void quantise(benchmark::State& state, const Kernels& kernels) {
  Rows x(kernels.packed, 32, kHidden);
  measure(state, {.bytes = std::ssize(x.floats) * 5},
          [&] { kernels.packed.quantise(std::ssize(x.floats), x.floats.data(), x.rounded()); });
}

template <PanelFormat format, Activations reads>
void add_products(std::vector<KernelBench>& table, const std::string& name) {
  const auto add = [&]<int64_t... rows>(std::integer_sequence<int64_t, rows...>) {
    (table.push_back(
         {"product/" + name + "/" + std::to_string(rows) + (rows == 1 ? "_row" : "_rows"),
          product<format, rows, reads>}),
     ...);
  };
  add(std::integer_sequence<int64_t, 1, 2, 4, 6, 8, 16, 32, 64>());
}

template <PanelFormat format>
void add_format(std::vector<KernelBench>& table, const std::string& name) {
  add_products<format, activations_of(format)>(table, name);
  table.insert(table.end(), {{"pack/" + name, pack<format>}, {"unpack/" + name, unpack<format>}});
}

// Of a file's blocks, which are multiplied with either.
template <PanelFormat format>
void add_stored(std::vector<KernelBench>& table, const std::string& name) {
  add_format<format>(table, name);
  add_products<format, Activations::integers>(table, name + "_integers");
}

}  // namespace

std::vector<KernelBench> packed_benches() {
  using enum PanelFormat;
  std::vector<KernelBench> table;
  add_format<f32>(table, "f32");
  add_format<bf16>(table, "bf16");
  add_format<f32_in_28>(table, "f32_in_28");
  add_format<f32_in_12>(table, "f32_in_12");
  add_format<bf16_in_12>(table, "bf16_in_12");
  add_format<q8>(table, "q8");
  add_format<q4>(table, "q4");
  add_stored<stored_q4_0>(table, "stored_q4_0");
  add_stored<stored_q5_0>(table, "stored_q5_0");
  add_stored<stored_q5_1>(table, "stored_q5_1");
  add_stored<stored_q4_k>(table, "stored_q4_k");
  add_stored<stored_q5_k>(table, "stored_q5_k");
  add_stored<stored_q6_k>(table, "stored_q6_k");
  table.insert(table.end(), {{"round", round}, {"quantise", quantise}});
  return table;
}

}  // namespace continuo::bench
