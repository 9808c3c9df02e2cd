// The loops that measure the machine do what they say; their speed is nobody's test.
#include <vector>

#include <gtest/gtest.h>

#include "nn/cpu/kernels/kernels.h"

namespace continuo {
namespace {

class MachineKernelTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const Kernels* table = kernels_for(GetParam());
    if (!table) GTEST_SKIP() << "this CPU has no " << GetParam();
    kernels_ = &table->machine;
  }
  const MachineKernels* kernels_ = nullptr;
};

TEST_P(MachineKernelTest, ReadingReadsEveryNumber) {
  for (const int64_t n : {0, 1, 15, 16, 127, 128, 129, 1000}) {
    std::vector<float> x(n);
    for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(i % 97);
    float sum = 0;
    for (const float v : x) sum += v;  // small whole numbers: exact in any order
    EXPECT_EQ(kernels_->read(n, x.data()), sum) << n;
  }
}

TEST_P(MachineKernelTest, MultiplyAddsTendToTwoEach) {
  EXPECT_EQ(kernels_->multiply_add(1000), 2.0f * static_cast<float>(kernels_->multiply_adds));
  // One round from 0, 1, 2, … is worth what it says.
  const float lanes = 16, chains = static_cast<float>(kernels_->multiply_adds) / lanes;
  EXPECT_EQ(kernels_->multiply_add(1), lanes * (chains + 0.5f * chains * (chains - 1) / 2));
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, MachineKernelTest, testing::ValuesIn(kInstructionSets));

}  // namespace
}  // namespace continuo
