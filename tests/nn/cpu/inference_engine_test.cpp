// The engine behind cached passes against the general modules, with everything that it covers.
#include "nn/cpu/inference_engine.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/normal.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/transformer.h"
#include "support/backend.h"
#include "support/threads.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

using test::max_difference;
using test::ragged;
using test::random_tokens;

TransformerOptions llama() {
  TransformerOptions o;
  o.layers = 3;
  o.hidden = 72;  // no multiple of a panel's width
  o.heads = 6;
  o.kv_heads = 2;
  o.head_dim = 16;
  o.intermediate = 100;
  o.vocabulary = 61;
  o.context = 2048;
  return o;
}

std::shared_ptr<Transformer> model_of(const TransformerOptions& options) {
  auto model = std::make_shared<Transformer>(options);
  model->initialise(5);
  const c10::NoGradGuard no_grad;
  int64_t salt = 0;
  for (const auto& item :
       model->named_parameters()) {  // norms and biases that matter, scores that differ
    at::Generator generator = at::detail::createCPUGenerator(++salt);
    at::Tensor noise =
        at::normal(0.0, item.value().dim() < 2 ? 0.3 : 0.15, item.value().sizes(), generator);
    item.value().add_(noise);
  }
  return model;
}

KVCache cache_of(const Transformer& model) {
  const DecoderShape& s = model.shape();
  return KVCache({.layers = s.layers,
                  .kv_heads = s.kv_heads,
                  .head_dim = s.head_dim,
                  .dtype = model.compute().dtype});
}

at::Tensor whole(Transformer& model, const std::vector<int64_t>& tokens) {
  return model.logits(model.forward(ragged({tokens})));
}

// Logits of every position, `piece` tokens a pass.
at::Tensor in_pieces(Transformer& model, const std::vector<int64_t>& tokens, int64_t piece) {
  KVCache cache = cache_of(model);
  cache.activate({cache.add()});
  std::vector<at::Tensor> rows;
  const auto n = static_cast<int64_t>(tokens.size());
  for (int64_t i = 0; i < n; i += piece) {
    const std::vector<int64_t> part(tokens.begin() + i, tokens.begin() + std::min(n, i + piece));
    rows.push_back(model.logits(model.forward(ragged({part}, i), &cache)));
  }
  return at::cat(rows);
}

TEST(InferenceEngine, AgreesWithTheModulesForEveryOptionThatItCovers) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const c10::NoGradGuard no_grad;
  std::vector<TransformerOptions> all(8, llama());
  all[1].attention_bias = all[1].mlp_bias = all[1].output_bias = true;
  all[2].qk_norm = QkNorm::head;
  all[3].qk_norm = QkNorm::whole;
  all[4].rotary_dim = 8;
  all[5].window = 7;
  all[5].windowed = {true, false, true};
  all[6].unrotated = {false, true, false};
  all[6].tie_embeddings = true;
  all[7].norm_plus_one = true;
  all[7].logit_softcap = 3;
  const std::vector<int64_t> tokens = random_tokens(90, 61, 1);
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_TRUE(InferenceEngine::covers(all[i]));
    const auto model = model_of(all[i]);
    const at::Tensor expected = whole(*model, tokens);  // more rows than the engine takes in fp32
    EXPECT_GT(expected.abs().max().item<double>(), 0.5);
    EXPECT_EQ(model->decode_engine(), nullptr) << "what is compared with";
    KVCache cache = cache_of(*model);
    cache.activate({cache.add()});
    model->forward(ragged({{tokens[0]}}), &cache);
    EXPECT_NE(model->decode_engine(), nullptr) << "what is compared";
    EXPECT_LT(max_difference(in_pieces(*model, tokens, 1), expected), 2e-4) << "option set " << i;
  }
}

TEST(InferenceEngine, LeavesOtherShapesToTheModules) {
  TransformerOptions o = llama();
  o.head_dim = 12;
  EXPECT_FALSE(InferenceEngine::covers(o));
  o = llama();
  o.attention_softcap = 5;
  EXPECT_FALSE(InferenceEngine::covers(o));
  o.attention_softcap = 0;
  o.layer_norm = true;
  EXPECT_FALSE(InferenceEngine::covers(o));
  const auto model = model_of(o);
  EXPECT_THROW(model->set_compute({.weights = WeightFormat::q8}), Error);
}

TEST(InferenceEngine, TokensTogetherGiveTheBitsOfTokensOneByOne) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const c10::NoGradGuard no_grad;
  TransformerOptions o = llama();
  o.context = 2048;
  const std::vector<int64_t> tokens = random_tokens(600, 61, 2);  // more than one span of keys
  for (const WeightFormat format :
       {WeightFormat::f32, WeightFormat::bf16, WeightFormat::q8, WeightFormat::q4}) {
    const auto model = model_of(o);
    model->set_compute({.weights = format});
    const at::Tensor single = in_pieces(*model, tokens, 1);
    EXPECT_TRUE(at::equal(in_pieces(*model, tokens, 7), single)) << static_cast<int>(format);
    const test::Threads three(3);
    EXPECT_TRUE(at::equal(in_pieces(*model, tokens, 13), single)) << "by the number of threads";
  }
}

TEST(InferenceEngine, QuantisedWeightsStayNearTheModel) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const c10::NoGradGuard no_grad;
  const auto model = model_of(llama());
  const std::vector<int64_t> tokens = random_tokens(40, 61, 3);
  const at::Tensor expected = whole(*model, tokens);
  const double size = expected.square().mean().sqrt().item<double>();
  for (const auto& [format, share] : {std::pair{WeightFormat::q8, 0.05}, {WeightFormat::q4, 0.5}}) {
    model->set_compute({.weights = format});
    const at::Tensor found = in_pieces(*model, tokens, 1);
    const double off = (found - expected).square().mean().sqrt().item<double>();
    EXPECT_LT(off, share * size) << static_cast<int>(format);
    EXPECT_GT(off, 1e-6 * size) << "was the engine used at all?";
    EXPECT_TRUE(at::equal(whole(*model, tokens), found))
        << "a pass without a cache sees other weights";
  }
}

// Each matrix in panels of 32 outputs whose inputs are padded to a multiple of 32.
int64_t bytes_of_panels(const TransformerOptions& o, WeightFormat format) {
  const auto bytes = [&](int64_t out, int64_t in) {
    const int64_t panels = (out + 31) / 32, inputs = (in + 31) / 32 * 32;
    switch (format) {
      case WeightFormat::f32:
        return panels * 32 * inputs * 4;
      case WeightFormat::bf16:
        return panels * 32 * inputs * 2;
      case WeightFormat::q8:
        return panels * 32 * (inputs + inputs / 32 * 2);
      case WeightFormat::q4:
        return panels * 32 * (inputs / 2 + inputs / 32 * 2);
    }
    return int64_t{0};
  };
  const int64_t attended = o.heads * o.head_dim, qkv = attended + 2 * o.kv_heads * o.head_dim;
  // Gate and up share panels, 16 rows of each.
  const int64_t gate_up = (o.intermediate + 15) / 16 * 32;
  return o.layers * (bytes(qkv, o.hidden) + bytes(o.hidden, attended) + bytes(gate_up, o.hidden) +
                     bytes(o.hidden, o.intermediate)) +
         bytes(o.vocabulary, o.hidden);
}

TEST(InferenceEngine, CountsTheBytesThatAPassReads) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const TransformerOptions o = llama();
  const auto model = model_of(o);
  for (const WeightFormat format : {WeightFormat::q8, WeightFormat::q4}) {
    model->set_compute({.weights = format});
    EXPECT_EQ(model->weight_bytes(), bytes_of_panels(o, format)) << static_cast<int>(format);
  }
  for (const WeightFormat format : {WeightFormat::f32, WeightFormat::bf16}) {
    model->set_compute({.weights = format});
    const int64_t plain = bytes_of_panels(o, format);
    if (!kernels().packed.compresses) {
      EXPECT_EQ(model->weight_bytes(), plain) << static_cast<int>(format);
      continue;
    }
    EXPECT_LT(model->weight_bytes(), plain * 15 / 16) << static_cast<int>(format);
    EXPECT_GT(model->weight_bytes(), plain * 3 / 4) << static_cast<int>(format);
  }
}

TEST(InferenceEngine, TheModulesReadEveryMatrixInTheTypeOfTheProducts) {
  TransformerOptions o = llama();
  o.layer_norm = true;
  o.gated = false;
  const auto model = model_of(o);
  const int64_t attended = o.heads * o.head_dim, keys = o.kv_heads * o.head_dim;
  const int64_t weights = o.layers * o.hidden * (2 * attended + 2 * keys + 2 * o.intermediate) +
                          o.vocabulary * o.hidden;
  EXPECT_EQ(model->weight_bytes(), 4 * weights);
  model->set_compute({.dtype = at::kBFloat16});
  EXPECT_EQ(model->weight_bytes(), 2 * weights);
}

TEST(InferenceEngine, SeesWeightsThatHaveChanged) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const c10::NoGradGuard no_grad;
  const auto model = model_of(llama());
  const std::vector<int64_t> tokens = random_tokens(20, 61, 4);
  const at::Tensor before = in_pieces(*model, tokens, 1);
  for (at::Tensor& p : model->parameters()) p.mul_(1.1);
  const at::Tensor after = in_pieces(*model, tokens, 1);
  EXPECT_GT(max_difference(before, after), 1e-2);
  EXPECT_LT(max_difference(after, in_pieces(*model, tokens, 20)), 1e-6);
}

TEST(InferenceEngine, SequencesOfABatchHaveTheBitsOfASequenceAlone) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const c10::NoGradGuard no_grad;
  const auto model = model_of(llama());
  const auto a = random_tokens(12, 61, 5), b = random_tokens(3, 61, 6);
  KVCache cache = cache_of(*model), alone = cache_of(*model);
  cache.activate({cache.add(), cache.add()});
  alone.activate({alone.add()});
  const at::Tensor both = model->logits(model->forward(ragged({a, b}), &cache));
  const at::Tensor one = model->logits(model->forward(ragged({b}), &alone));
  EXPECT_TRUE(at::equal(both.narrow(0, 12, 3), one));
  EXPECT_EQ(cache.length(0), 12);
  EXPECT_EQ(cache.length(1), 3);
}

}  // namespace
}  // namespace continuo
