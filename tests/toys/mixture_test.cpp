// A mixture of experts, described in a spec and nothing else: it trains and generates.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "generate/generator.h"
#include "nn/executor.h"
#include "nn/unset_parameter.h"
#include "support/generation_of.h"
#include "support/naive_generator.h"
#include "support/row_fixture.h"
#include "support/tiny_model.h"
#include "toys/fit.h"

namespace continuo::test {
namespace {

ModelSpec mixture_spec() {
  return tiny_spec([](BlockSpec& block) {
    block.mlp = Experts{.count = 6, .chosen = 2, .expert = {.width = 24}};
  });
}

// Token by token, from the parameters' names alone.
at::Tensor written_out(MixtureImpl& layer, const at::Tensor& x, int64_t chosen) {
  std::map<std::string, at::Tensor> p;
  for (const auto& item : layer.named_parameters()) p[item.key()] = item.value().detach();
  at::Tensor out = at::zeros_like(x);
  for (int64_t t = 0; t < x.size(0); ++t) {
    const at::Tensor row = x[t];
    const at::Tensor probabilities = at::softmax(p.at("router.weight").mv(row), 0);
    const at::Tensor order = at::argsort(probabilities, 0, /*descending=*/true);
    double total = 0;
    for (int64_t i = 0; i < chosen; ++i)
      total += probabilities[order[i].item<int64_t>()].item<double>();
    for (int64_t i = 0; i < chosen; ++i) {
      const auto e = order[i].item<int64_t>();
      const std::string name = "experts_" + std::to_string(e) + ".";
      const at::Tensor inner =
          at::silu(p.at(name + "gate.weight").mv(row)) * p.at(name + "up.weight").mv(row);
      out[t] += p.at(name + "down.weight").mv(inner) * (probabilities[e].item<double>() / total);
    }
  }
  return out;
}

TEST(ToyMixture, IsTheFormulaTokenByToken) {
  for (const int64_t chosen : {1, 2, 6}) {
    MixtureImpl layer(32, {.count = 6, .chosen = chosen, .expert = {.width = 24}});
    const c10::NoGradGuard no_grad;
    int64_t salt = 0;
    for (const auto& item : layer.named_parameters()) {
      at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(++salt));
      allocate_unset(item.value());
      item.value().copy_(at::normal(0.0, 0.5, item.value().sizes(), generator));
    }
    at::Generator generator = at::detail::createCPUGenerator(77);
    const at::Tensor x = at::normal(0.0, 1.0, {19, 32}, generator);
    const at::Tensor expected = written_out(layer, x, chosen);
    EXPECT_GT(expected.abs().max().item<double>(), 1);
    EXPECT_LT(max_difference(layer.forward(x), expected), 1e-4) << chosen;
  }
}

const std::vector<std::vector<TokenId>> kRhymes = {
    {5, 6, 7, 8, 5, 6, 7, 8}, {9, 10, 11}, {20, 21, 22, 23, 24}, {30, 31, 30, 31, 30, 31}};

TEST(ToyMixture, LearnsHoweverTheStepIsCut) {
  for (const bool recompute : {false, true}) {
    std::vector<std::vector<double>> losses;
    for (const size_t rows : {1, 4}) {
      const auto model = tiny_model(mixture_spec());
      model->set_compute({.recompute = recompute});
      losses.push_back(fit(*model, kRhymes, 30, rows));
      EXPECT_LT(losses.back().back(), 0.1 * losses.back().front());
      // Experts that a step's tokens did not choose stay as they were, the others learn.
      const auto fresh = tiny_model(mixture_spec());
      size_t changed = 0, all = 0;
      for (const auto& item : model->named_parameters()) {
        if (item.key().find("experts_") == std::string::npos) continue;
        ++all;
        changed += !item.value().equal(fresh->named_parameters()[item.key()]);
      }
      EXPECT_EQ(all, 2u * 6 * 3);
      EXPECT_GT(changed, 12u);
    }
    for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(losses[0][i], losses[1][i], 1e-3);
  }
}

TEST(ToyMixture, GeneratesWhatTheModulesSay) {
  const Threads one(1);
  const auto model = tiny_model(mixture_spec());
  fit(*model, kRhymes, 30);
  const Vocabulary vocabulary = small_vocabulary(61);
  const std::vector<std::vector<TokenId>> prompts = {{5, 6}, {9}, {20, 21}, {30, 31, 30}};
  for (const char* settings :
       {"sampler: [greedy]", "sampler: [{temperature: 1}], samples: 3, max_batch: 5"}) {
    const GenerationConfig config =
        generation_of(fmt::format("{{max_new_tokens: 12, seed: 4, {}}}", settings));
    const auto executor = make_executor(model, {});
    Generator generator(*executor, vocabulary, config);
    for (const Completion& c : generator.generate(prompts).completions) {
      std::vector<TokenId> ids;
      for (const GeneratedToken& token : c.tokens) ids.push_back(token.id);
      EXPECT_EQ(ids,
                naive_generate(static_cast<Decoder&>(*model), vocabulary, config,
                               prompts[static_cast<size_t>(c.prompt)],
                               static_cast<uint64_t>(c.prompt), static_cast<uint64_t>(c.sample)));
    }
  }
}

}  // namespace
}  // namespace continuo::test
