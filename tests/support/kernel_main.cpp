// main of the test binaries that compute with a backend. ctest starts them once per instruction set
// of the CPU's, one that this CPU lacks being skipped, and once with the reference backend
// (CONTINUO_BACKEND=aten); by hand also on CONTINUO_TEST_DEVICE. LibTorch's random numbers begin
// anew with every test, so that none depends on which others ran before it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "nn/aten/backend.h"
#include "nn/cpu/backend.h"
#include "nn/cpu/kernels/kernels.h"
#include "support/backend.h"

namespace {

constexpr int kSkipped = 77;  // SKIP_RETURN_CODE in tests/CMakeLists.txt

class SeedOfEachTest : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override {
    at::manual_seed(c10::default_rng_seed_val);
  }
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* setting = std::getenv("CONTINUO_ISA");
  const std::string_view wanted = setting ? setting : "";
  const bool known =
      std::ranges::find(continuo::kInstructionSets, wanted) != continuo::kInstructionSets.end();
  if (known && !continuo::kernels_for(setting)) {
    std::printf("skipped: this CPU has no %s\n", setting);
    return kSkipped;
  }
  try {
    continuo::install_backend(at::kCPU, continuo::host_backend());
    const at::Device device = continuo::test::device();
    if (!device.is_cpu()) continuo::install_backend(device.type(), continuo::aten_backend());
    std::printf("device: %s, backend: %s, kernels: %s\n", device.str().c_str(),
                continuo::backend_of(device).name, continuo::kernels().instruction_set);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  testing::UnitTest::GetInstance()->listeners().Append(new SeedOfEachTest);  // which owns it
  return RUN_ALL_TESTS();
}
