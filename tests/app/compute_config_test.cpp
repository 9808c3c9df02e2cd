#include "app/compute_config.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "nn/cpu/kernels/kernels.h"
#include "support/expect_error.h"

namespace continuo {
namespace {

ComputeConfig load(const std::string& yaml) {
  ComputeConfig config;
  Problems problems;
  load_config(parse_yaml(yaml, "c.yaml"), config, problems);
  problems.raise();
  return config;
}

TEST(ComputeConfig, SaysHowAModelIsRun) {
  const int before = at::get_num_threads();
  const Compute compute =
      start_compute(load("{device: cpu, threads: 3, weights: q4, kv_cache: q8}"));
  EXPECT_EQ(at::get_num_threads(), 3);
  at::set_num_threads(before);
  EXPECT_TRUE(compute.device.is_cpu());
  EXPECT_EQ(compute.threads, 3);
  EXPECT_EQ(compute.dtype, at::kFloat);
  EXPECT_EQ(compute.executor.weights, WeightFormat::q4);
  EXPECT_EQ(compute.executor.cache, KVFormat::q8);
}

TEST(ComputeConfig, FormatsAreOfTheProductsTypeUnlessChosen) {
  EXPECT_EQ(start_compute(load("{device: cpu, threads: 1}")).executor,
            ExecutorOptions{.weights = WeightFormat::blocks});
  const Compute narrow = start_compute(load("{device: cpu, threads: 1, dtype: bf16}"));
  const bool is_narrow = narrow.dtype == at::kBFloat16;  // not of every CPU
  EXPECT_EQ(narrow.executor.weights, is_narrow ? WeightFormat::bf16 : WeightFormat::blocks);
  EXPECT_EQ(cache_format(narrow.executor), KVFormat::bf16);
}

TEST(ComputeConfig, FaultsAreFoundWhereTheyAreWritten) {
  test::expect_error([] { load("device: cpu\nweights: f32_in_12\n"); },
                     {"c.yaml:2", "weights", "q4"});
  test::expect_error([] { load("device: cpu\nkv_cache: q4\n"); }, {"c.yaml:2", "kv_cache", "q8"});
  test::expect_error([] { load("dtype: fp16"); }, {"c.yaml:1", "dtype", "bf16"});
  test::expect_error([] { load("threads: -1"); }, {"c.yaml:1", "threads"});
  test::expect_error([] { load("cuda: {kernels: some}"); }, {"c.yaml:1", "cuda.kernels", "proven"});
  test::expect_error([] { start_compute(load("device: tpu")); }, {"tpu", "cuda:<index>"});
}

TEST(ComputeConfig, ARankHasTheGpuOfItsNumber) {
  const auto gpus = static_cast<int64_t>(at::getNumGPUs());
  for (const char* device : {"auto", "cuda"}) {
    const std::string expected = gpus == 0 ? device : fmt::format("cuda:{}", 3 % gpus);
    EXPECT_EQ(device_of_rank(device, 3), expected);
  }
  EXPECT_EQ(device_of_rank("cpu", 3), "cpu");
  EXPECT_EQ(device_of_rank("cuda:1", 3), "cuda:1");
}

TEST(ComputeConfig, TheProductsTypeIsOneThatTheMachineMultipliesWell) {
  const auto type = [](ComputeType wanted, bool frozen, const char* set,
                       c10::Device device = at::kCPU) {
    return dtype_name(products_dtype(wanted, frozen, device, set));
  };
  for (const bool frozen : {false, true}) {
    for (const char* set : {"avx512vnni", "avx512"})
      EXPECT_EQ(type(ComputeType::kAuto, frozen, set), "bf16") << set;
    EXPECT_EQ(type(ComputeType::kAuto, frozen, "avx2"), frozen ? "bf16" : "fp32");
    EXPECT_EQ(type(ComputeType::kAuto, frozen, "portable"), "fp32");
    EXPECT_EQ(type(ComputeType::kAuto, frozen, "portable", at::kCUDA), "bf16");
    for (const char* set : {"avx512vnni", "avx2", "portable"})
      EXPECT_EQ(type(ComputeType::kFloat32, frozen, set), "fp32");
    EXPECT_EQ(type(ComputeType::kBfloat16, frozen, "avx2"), "bf16");
    EXPECT_EQ(type(ComputeType::kBfloat16, frozen, "portable"), "fp32");
  }
  const std::string_view own = kernels().instruction_set;
  EXPECT_EQ(start_compute(load("{device: cpu, threads: 1, dtype: auto}")).dtype,
            own == "portable" ? at::kFloat : at::kBFloat16);
}

}  // namespace
}  // namespace continuo
