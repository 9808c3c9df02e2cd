// A preference objective (DPO, arXiv 2305.18290) against the headers alone: what an objective needs
// that is not Σ weight · nll, a reference model, pairs that stay together, metrics of its own.
#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "support/named_parameters.h"
#include "support/tiny_model.h"
#include "train/head_loss.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/step.h"
#include "train/supervised.h"

namespace continuo {
namespace {

using test::max_difference;
using test::named_parameters;
using test::tiny_model;

// −log σ(β · (Δ − Δ_reference)), Δ the difference of the two answers' log-probabilities. The first
// document of a group is the one that was chosen.
class ToyPreference : public Objective {
 public:
  ToyPreference(Decoder& reference, double beta) : reference_(reference), beta_(beta) {}

  void prepare(TrainingStep& step, Decoder&) override {
    for (Batch& batch : step.micro_batches) {
      batch.columns["reference"] = margins(reference_, batch);
    }
  }

  LossTerms loss(Decoder& decoder, const Batch& batch, const StepCounts& counts) override {
    const at::Tensor margin = margins(decoder, batch) - batch.columns.at("reference");
    const at::Tensor losses = -at::log_sigmoid(margin * beta_);
    return {.loss = losses.sum() / static_cast<double>(counts.groups),
            .sums = at::stack(
                {margin.detach().sum(at::kDouble), margin.detach().gt(0).sum().to(at::kDouble)}),
            .per_target = {}};
  }

  std::span<const MetricSpec> metrics() const override {
    static const MetricSpec kMetrics[] = {{"margin", PerStep::kGroup},
                                          {"preferred", PerStep::kGroup}};
    return kMetrics;
  }

 private:
  // Of each pair of the batch: Δ, differentiable.
  static at::Tensor margins(Decoder& decoder, const Batch& batch) {
    const Supervised rows = supervised_rows(decoder, batch);
    const at::Tensor logp = token_logprobs(rows.hidden, rows.head, rows.targets).logp;
    const auto answer = [&](size_t d) {
      return logp.narrow(0, rows.boundaries[d], rows.boundaries[d + 1] - rows.boundaries[d]).sum();
    };
    std::vector<at::Tensor> margins;
    for (size_t d = 0; d + 1 < batch.groups.size(); d += 2) {
      EXPECT_EQ(batch.groups[d], batch.groups[d + 1]) << "a pair is never torn";
      margins.push_back(answer(d) - answer(d + 1));
    }
    return at::stack(margins);
  }

  Decoder& reference_;
  double beta_;
};

const std::vector<std::vector<TokenId>> kDocuments = {
    {5, 6, 7, 8}, {5, 6, 9, 10, 11}, {20, 21, 22}, {20, 23, 24, 25}, {30, 31, 32}, {30, 33, 34}};

// Pairs of documents with a prompt of one token, `pairs` to a micro-batch.
TrainingStep preference_step(size_t pairs) {
  TrainingStep step;
  std::vector<std::vector<uint8_t>> masks;
  for (const auto& ids : kDocuments) {
    masks.emplace_back(ids.size(), uint8_t{1})[0] = 0;
  }
  for (size_t begin = 0; begin < kDocuments.size(); begin += 2 * pairs) {
    std::vector<ExampleView> views;
    std::vector<int64_t> rows, groups;
    for (size_t d = begin; d < std::min(kDocuments.size(), begin + 2 * pairs); ++d) {
      views.push_back({kDocuments[d], masks[d]});
      rows.push_back(static_cast<int64_t>(d));
      groups.push_back(static_cast<int64_t>(d / 2));
    }
    step.add(make_batch(views, rows, groups));
  }
  return step;
}

// The loss from the logits of every position, without any of the above.
at::Tensor written_out(Transformer& model, Transformer& reference, double beta) {
  const auto answer = [](Transformer& m, const std::vector<TokenId>& ids) {
    const auto n = static_cast<int64_t>(ids.size());
    const std::vector<int64_t> wide(ids.begin(), ids.end());
    const at::Tensor tokens = at::tensor(wide, at::kLong).to(m.device());
    const RaggedInput input{
        tokens.narrow(0, 0, n - 1), at::arange(n - 1, tokens.options()), {0, n - 1}};
    const at::Tensor logp = at::log_softmax(m.logits(m.forward(input)), 1);
    return logp.gather(1, tokens.narrow(0, 1, n - 1).unsqueeze(1)).sum();
  };
  std::vector<at::Tensor> losses;
  for (size_t d = 0; d < kDocuments.size(); d += 2) {
    const auto margin = [&](Transformer& m) {
      return answer(m, kDocuments[d]) - answer(m, kDocuments[d + 1]);
    };
    losses.push_back(-at::log_sigmoid((margin(model) - margin(reference).detach()) * beta));
  }
  return at::stack(losses).mean();
}

TEST(ToyPreference, LossAndGradientsAreThoseOfTheFormulaHoweverTheStepIsCut) {
  const auto model = tiny_model(), reference = tiny_model(test::tiny_spec(), 99);
  const at::Tensor expected = written_out(*model, *reference, 0.5);
  expected.backward();
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& p : model->parameters()) gradients.push_back(p.grad().clone());
  for (const size_t pairs : {1, 2, 3}) {
    model->zero_grad();
    TrainingStep step = preference_step(pairs);
    EXPECT_EQ(step.groups, 3);
    ToyPreference objective(*reference, 0.5);
    LocalGradients local(named_parameters(*model));
    const StepResult result = accumulate(step, objective, {.decoder = *model, .gradients = local});
    EXPECT_NEAR(result.loss, expected.item<double>(), 1e-5);
    size_t i = 0;
    for (const at::Tensor& p : model->parameters()) {
      EXPECT_LT(max_difference(p.grad(), gradients[i++]), 1e-5);
    }
    for (const at::Tensor& p : reference->parameters()) EXPECT_FALSE(p.grad().defined());
  }
}

TEST(ToyPreference, LearnsWhatIsPreferred) {
  const auto model = tiny_model(), reference = tiny_model();
  LocalGradients gradients(named_parameters(*model));
  AdamW optimizer(gradients, {.weight_decay = 0});
  ToyPreference objective(*reference, 1);
  StepResult result;
  for (int64_t i = 0; i < 30; ++i) {
    TrainingStep step = preference_step(2);
    result = accumulate(step, objective, {.decoder = *model, .gradients = gradients, .number = i});
    if (i == 0) {
      EXPECT_NEAR(result.loss, std::log(2), 1e-5) << "the model is its own reference";
    }
    optimizer.step(3e-3, result.gradient_norm);
  }
  EXPECT_LT(result.loss, 0.3);
  EXPECT_GT(result.metrics[0], 1) << "margin";
  EXPECT_EQ(result.metrics[1], 1) << "preferred";
}

}  // namespace
}  // namespace continuo
