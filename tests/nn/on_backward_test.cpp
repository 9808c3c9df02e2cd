#include "nn/on_backward.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tanh.h>
#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(OnBackward, ReportsBetweenWhatFollowsAndWhatComesBefore) {
  const at::Tensor x = at::randn({3}).requires_grad_(), before = at::randn({3}).requires_grad_(),
                   after = at::randn({3}).requires_grad_();
  std::vector<std::string> seen;
  const at::Tensor entered = at::tanh(x * before);
  const auto passed = on_backward({entered, entered * 2}, [&] {
    seen.push_back(std::string(after.grad().defined() ? "after" : "nothing") +
                   (before.grad().defined() ? " and before" : ""));
  });
  EXPECT_TRUE(passed[0].equal(entered));
  EXPECT_TRUE(passed[1].equal(entered * 2));
  (passed[0] * after + passed[1]).sum().backward();
  EXPECT_EQ(seen, std::vector<std::string>{"after"});
  const at::Tensor slope = 1 - entered.detach().square();
  EXPECT_TRUE(x.grad().allclose((after + 2).detach() * slope * before.detach()));
}

TEST(OnBackward, IsSilentWithoutGradients) {
  int64_t calls = 0;
  const at::Tensor x = at::randn({3}), weight = at::randn({3}).requires_grad_();
  (on_backward({x}, [&] { ++calls; })[0] * weight).sum().backward();
  EXPECT_EQ(calls, 0);
}

// Only one of two is used: the other's gradient is undefined.
TEST(OnBackward, PassesOnWhatHasNoGradient) {
  int64_t calls = 0;
  const at::Tensor x = at::randn({3}).requires_grad_(), y = at::randn({3}).requires_grad_();
  on_backward({x, y}, [&] { ++calls; })[1].sum().backward();
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(x.grad().defined());
  EXPECT_TRUE(y.grad().defined());
}

}  // namespace
}  // namespace continuo
