#include "train/parted_flat.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full_like.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "nn/unset_parameter.h"
#include "support/backend.h"
#include "support/ranks.h"

namespace continuo {
namespace {

using test::RankEnd;

void check(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

// A norm between two matrices; 40 + 8 + 21 elements.
NamedParameters some_parameters() {
  const auto numbers = at::TensorOptions(at::kFloat).device(test::device());
  return {{"first", at::arange(40, numbers).view({4, 10}).clone().requires_grad_()},
          {"norm", at::arange(8, numbers).add(100).requires_grad_()},
          {"second", at::arange(21, numbers).view({3, 7}).add(200).requires_grad_()}};
}

TEST(PartedFlat, IsThereBetweenGatherAndRelease) {
  const auto ends = test::run_ranks(3, [](Communicator& ranks) {
    const NamedParameters parameters = some_parameters(), expected = some_parameters();
    PartedFlat flat(parameters, ranks);
    for (const int time : {0, 1}) {
      static_cast<void>(time);
      for (const auto& [name, parameter] : parameters) check(is_unset(parameter), "it stays");
      flat.gather();
      flat.gather();
      flat.wait();
      for (size_t i = 0; i < parameters.size(); ++i)
        check(parameters[i].second.equal(expected[i].second), "other values");
      flat.release();
    }
  });
  for (const RankEnd& end : ends) EXPECT_EQ(end.code, 0) << end.error;
}

TEST(PartedFlat, GivesProductsTheRoundedWeightsAndTheOwnerTheExactOnes) {
  const auto ends = test::run_ranks(2, [](Communicator& ranks) {
    const NamedParameters parameters = some_parameters(), expected = some_parameters();
    for (const auto& [name, parameter] : parameters) {
      const c10::NoGradGuard no_grad;
      parameter.mul_(1.001f);
    }
    PartedFlat flat(parameters, ranks, at::kBFloat16);
    const auto read = flat.read_by_products();
    check(read.size() == parameters.size(), "not every parameter");
    for (const int time : {0, 1}) {
      static_cast<void>(time);
      flat.gather();
      flat.wait();
      for (const auto& [parameter, view] : read) {
        check(is_unset(parameter) && !is_unset(view), "the wrong memory");
        size_t i = 0;
        while (!parameters[i].second.is_same(parameter)) ++i;
        const at::Tensor exact = expected[i].second.detach() * 1.001f;
        check(view.equal(exact.to(at::kBFloat16)), "not the rounded values");
      }
      flat.gather_exact();
      flat.wait();
      for (size_t i = 0; i < parameters.size(); ++i) {
        check(parameters[i].second.equal(expected[i].second.detach() * 1.001f), "other values");
        check(is_unset(read[i].second), "the rounded ones stay");
      }
      flat.release();
      for (const auto& [name, parameter] : parameters) check(is_unset(parameter), "it stays");
    }
  });
  for (const RankEnd& end : ends) EXPECT_EQ(end.code, 0) << end.error;
}

TEST(PartedFlat, SharesAreEveryElementOnceAndDecayAsTheirParameterDoes) {
  const auto ends = test::run_ranks(2, [](Communicator& ranks) {
    const NamedParameters parameters = some_parameters(), expected = some_parameters();
    PartedFlat flat(parameters, ranks);
    std::vector<double> counts(parameters.size(), 0);
    for (const Share& share : flat.shares()) {
      check(share.weight.numel() % 16 == 0, "a piece is not aligned");
      for (const Stretch& stretch : share.stretches) {
        size_t i = 0;
        while (expected[i].first != stretch.parameter) ++i;
        const at::Tensor& whole = expected[i].second;
        check(share.decays == (whole.dim() >= 2), "the wrong decay");
        check(stretch.shape == whole.sizes().vec(), "the wrong shape");
        check(share.weight.narrow(0, stretch.at, stretch.count)
                  .equal(whole.flatten().narrow(0, stretch.first, stretch.count)),
              "the wrong elements");
        counts[i] += static_cast<double>(stretch.count);
      }
    }
    const std::vector<double> all = ranks.gather(counts, "the counts");
    for (size_t i = 0; i < counts.size(); ++i) {
      const auto count = static_cast<double>(expected[i].second.numel());
      check(all[i] + all[counts.size() + i] == count, "not every element once");
    }
  });
  for (const RankEnd& end : ends) EXPECT_EQ(end.code, 0) << end.error;
}

TEST(PartedFlat, AddsTheGradientsOfRanksAndOfPasses) {
  const auto ends = test::run_ranks(2, [](Communicator& ranks) {
    NamedParameters parameters = some_parameters();
    PartedFlat flat(parameters, ranks);
    const auto pass = [&](double value) {
      flat.gather();
      flat.wait();
      for (size_t i : {0, 2}) {  // none of the norm
        parameters[i].second.mutable_grad() =
            at::full_like(parameters[i].second.detach(), value + static_cast<double>(ranks.rank()));
      }
      flat.release();
      flat.reduce();
      for (const auto& [name, parameter] : parameters)
        check(!parameter.grad().defined(), "a gradient stays");
    };
    pass(1);
    pass(10);
    flat.add_up();
    // 1 + 2 + 10 + 11 in the matrices, which come first.
    const std::vector<at::Tensor> sums = flat.cut(flat.sum());
    const std::vector<Share> shares = flat.shares();
    check(sums.size() == shares.size(), "cut in another way");
    for (size_t s = 0; s < shares.size(); ++s) {
      for (const Stretch& stretch : shares[s].stretches) {
        const at::Tensor part = sums[s].narrow(0, stretch.at, stretch.count);
        check(part.equal(at::full_like(part, shares[s].decays ? 24 : 0)), "another sum");
      }
    }
    flat.discard();
    check(!flat.sum().defined(), "a sum stays");
  });
  for (const RankEnd& end : ends) EXPECT_EQ(end.code, 0) << end.error;
}

}  // namespace
}  // namespace continuo
