// main of the test binaries that compute with a backend. ctest starts them once per instruction set
// of the CPU's, one that this CPU lacks being skipped, once with the reference backend
// (CONTINUO_BACKEND=aten) and some with the GPUs' on a device beside the CPU (CONTINUO_TEST_DEVICE,
// support/cuda_on_cpu); by hand also on a GPU, with CONTINUO_CUDA_KERNELS=proven or all. LibTorch's
// random numbers begin anew with every test, so that none depends on which others ran before it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "nn/aten/backend.h"
#include "nn/cpu/backend.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cuda/backend.h"
#include "support/backend.h"
#include "support/cuda_on_cpu/replayed_graph.h"

namespace {

constexpr int kSkipped = 77;  // SKIP_RETURN_CODE in tests/CMakeLists.txt

class SeedOfEachTest : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override {
    // Of the CPU alone: asking for a GPU's would begin its use, and tests of ranks could not fork.
    at::Generator generator = at::globalContext().defaultGenerator(at::kCPU);
    generator.set_current_seed(c10::default_rng_seed_val);
  }
};

std::string_view setting(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void install_backends() {
  using namespace continuo;
  const at::Device device = test::device();
  install_cuda_kernels(&cuda::compiled_kernels());
  install_device_graphs(device.is_cuda() ? built_device_graphs() : test::make_replayed_graph);
  install_backend(at::kCPU, host_backend());
  if (device.is_cpu()) return;
  const bool all = setting("CONTINUO_CUDA_KERNELS") == "all";
  install_backend(device.type(), cuda_backend(all ? CudaKernels::kAll : CudaKernels::kProven));
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const std::string_view wanted = setting("CONTINUO_ISA");
  const bool known =
      std::ranges::find(continuo::kInstructionSets, wanted) != continuo::kInstructionSets.end();
  if (known && !continuo::kernels_for(wanted.data())) {
    std::printf("skipped: this CPU has no %s\n", wanted.data());
    return kSkipped;
  }
  try {
    install_backends();
    const at::Device device = continuo::test::device();
    std::printf("device: %s, backend: %s, kernels: %s\n", device.str().c_str(),
                continuo::backend_of(device).name, continuo::kernels().instruction_set);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  testing::UnitTest::GetInstance()->listeners().Append(new SeedOfEachTest);  // which owns it
  return RUN_ALL_TESTS();
}
