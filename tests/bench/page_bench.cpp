#include "bench/kernel_bench.h"

namespace continuo::bench {
namespace {

static_assert(kDim == padded_dim(kDim));

// A full page of one head.
template <class T>
struct Page {
  explicit Page(const Kernels& kernels) { fill(kernels); }

  void fill(const Kernels& kernels) {
    for (int64_t t = 0; t < kPageKeys; ++t) {
      const float* key = written.data() + 2 * t * kDim;
      kernels.page<T>().write({.key_dim = kDim,
                               .value_dim = kDim,
                               .at = t,
                               .key = key,
                               .value = key + kDim,
                               .keys = keys.data(),
                               .values = page_values.data(),
                               .key_scales = key_scales.data(),
                               .value_scales = value_scales.data()});
    }
  }
  static constexpr int64_t token_bytes() {
    return 2 * (kDim * static_cast<int64_t>(sizeof(T)) + (sizeof(T) == 1 ? 4 : 0));
  }

  std::vector<float> written = values<float>(2 * kPageKeys * kDim);  // key, value, key, …
  std::vector<T> keys = std::vector<T>(kPageKeys * kDim);
  std::vector<T> page_values = std::vector<T>(kPageKeys * kDim);
  std::vector<float> key_scales = std::vector<float>(kPageKeys);
  std::vector<float> value_scales = std::vector<float>(kPageKeys);
};

template <class T, int64_t queries>
void attend(benchmark::State& state, const Kernels& kernels) {
  const Page<T> page(kernels);
  const auto q = values<float>(queries * kDim);
  const std::vector<KeyRange> ranges(queries, {0, kPageKeys});
  std::vector<float> scores(page_scratch(kDim)), out(queries * kDim);
  std::vector<AttentionPart> parts(queries);
  const PageInput<T> input = {.queries = queries,
                              .key_dim = kDim,
                              .value_dim = kDim,
                              .q = q.data(),
                              .ranges = ranges.data(),
                              .keys = page.keys.data(),
                              .values = page.page_values.data(),
                              .key_scales = page.key_scales.data(),
                              .value_scales = page.value_scales.data(),
                              .scale = 0.125f,
                              .softcap = 0};
  const Work work = {.bytes = kPageKeys * Page<T>::token_bytes(),
                     .flop = 4 * queries * kPageKeys * kDim};
  measure(state, work,
          [&] { kernels.page<T>().attend(input, scores.data(), parts.data(), out.data()); });
}

template <class T>
void write(benchmark::State& state, const Kernels& kernels) {
  Page<T> page(kernels);
  constexpr int64_t kRead = 2 * kDim * static_cast<int64_t>(sizeof(float));
  measure(state, {.bytes = kPageKeys * (kRead + Page<T>::token_bytes())},
          [&] { page.fill(kernels); });
}

void merge(benchmark::State& state, const Kernels& kernels) {
  const auto later = values<float>(kDim);
  auto out = values<float>(kDim);
  const AttentionPart part = {.high = 1, .total = 2};
  measure(state, {.bytes = 3 * kDim * 4, .flop = 3 * kDim}, [&] {
    AttentionPart before = {.high = 1.5f, .total = 2};
    kernels.engine.merge(kDim, part, later.data(), before, out.data());
  });
}

template <Activation activation>
void gate(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(kIntermediate), up = values<float>(kIntermediate);
  std::vector<float> out(kIntermediate);
  measure(state, {.bytes = 3 * kIntermediate * 4},
          [&] { kernels.engine.gate(activation, kIntermediate, x.data(), up.data(), out.data()); });
}

void layer_norm(benchmark::State& state, const Kernels& kernels) {
  const auto x = values<float>(kHidden), weight = values<float>(kHidden),
             bias = values<float>(kHidden);
  std::vector<float> y(kHidden);
  measure(state, {.bytes = 4 * kHidden * 4, .flop = 8 * kHidden}, [&] {
    kernels.engine.layer_norm(kHidden, x.data(), weight.data(), bias.data(), 1e-5f, y.data());
  });
}

// In place: every call starts from what the last one left.
void cap(benchmark::State& state, const Kernels& kernels) {
  auto x = values<float>(kVocabulary);
  measure(state, {.bytes = 2 * kVocabulary * 4},
          [&] { kernels.engine.cap(kVocabulary, 30, x.data()); });
}

template <class T>
void add_type(std::vector<KernelBench>& table, const std::string& type) {
  constexpr int64_t kGroup = kHeads / kKvHeads;
  table.insert(table.end(), {{"page_attend/" + type + "/1_group", attend<T, kGroup>},
                             {"page_attend/" + type + "/48_queries", attend<T, 48>},
                             {"page_write/" + type, write<T>}});
}

}  // namespace

std::vector<KernelBench> page_benches() {
  std::vector<KernelBench> table;
  add_type<float>(table, "f32");
  add_type<uint16_t>(table, "bf16");
  add_type<int8_t>(table, "q8");
  table.insert(table.end(), {{"merge", merge},
                             {"gate/silu", gate<Activation::silu>},
                             {"gate/gelu", gate<Activation::gelu>},
                             {"gate/gelu_tanh", gate<Activation::gelu_tanh>},
                             {"layer_norm", layer_norm},
                             {"cap", cap}});
  return table;
}

}  // namespace continuo::bench
