// The generator over the shared Transformer: cached, batched and chunked decoding against the naive
// generator. Rounding differs between the two, so the rows are spread wide enough not to tie.
#include "generate/generator.h"
#include "generate/naive_generator.h"
#include "generate/sampling/row_fixture.h"
#include "nn/invariant_rows.h"
#include "nn/transformer.h"
#include "support/backend.h"

namespace continuo::test {
namespace {

using Ids = std::vector<TokenId>;

TransformerOptions tiny(int64_t kv_heads) {
  return {.layers = 2,
          .hidden = 32,
          .heads = 4,
          .kv_heads = kv_heads,
          .head_dim = 8,
          .intermediate = 48,
          .vocabulary = 30,
          .context = 48};
}

GenerationConfig real_config(const std::string& yaml) {
  GenerationConfig config;
  Problems problems;
  load_config(parse_yaml(yaml, "test.yaml"), config, problems);
  problems.raise();
  return config;
}

Ids token_ids(const Completion& completion) {
  Ids result;
  for (const GeneratedToken& token : completion.tokens) result.push_back(token.id);
  return result;
}

const std::vector<Ids> kRealPrompts{{0, 5, 6}, {0, 7}, {0, 9, 9, 9, 9, 12, 13, 4, 4, 21}, {3}};

void spread(Transformer& model) {
  const at::NoGradGuard no_grad;
  for (const at::Tensor& parameter : model.parameters()) {
    if (parameter.dim() == 2) parameter.mul_(8);
  }
}

TEST(RealModel, CachedEqualsNaive) {
  for (int64_t kv_heads : {1, 2, 4}) {
    Transformer model(tiny(kv_heads));
    model.initialise(kv_heads);
    spread(model);
    for (const char* sampler :
         {"[greedy]", "[{temperature: 1}]", "[{temperature: 1.5}, {mirostat: 2}]"}) {
      const auto config = real_config(fmt::format(
          "{{max_new_tokens: 20, samples: 2, max_batch: 5, prefill_chunk: 4, sampler: {}}}",
          sampler));
      Generator generator(model, small_vocabulary(), config);
      for (const Completion& c : generator.generate(kRealPrompts).completions) {
        EXPECT_EQ(token_ids(c),
                  naive_generate(model, small_vocabulary(), config,
                                 kRealPrompts[static_cast<size_t>(c.prompt)],
                                 static_cast<uint64_t>(c.prompt), static_cast<uint64_t>(c.sample)))
            << sampler << " prompt " << c.prompt << " sample " << c.sample;
      }
    }
  }
}

TEST(RealModel, LogProbabilitiesAreBitEqualAloneAndInABatch) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  Transformer model(tiny(2));
  model.initialise(1);
  Generator generator(
      model, small_vocabulary(),
      real_config("{max_new_tokens: 20, ignore_eos: true, sampler: [{temperature: 1}]}"));
  const auto batch = generator.generate(kRealPrompts).completions;
  for (uint64_t p = 0; p < kRealPrompts.size(); ++p) {
    const std::vector<uint64_t> keys{p};
    const auto alone =
        generator.generate(std::vector<Ids>{kRealPrompts[p]}, {}, {}, keys).completions;
    ASSERT_EQ(token_ids(alone[0]), token_ids(batch[p]));
    for (size_t i = 0; i < alone[0].tokens.size(); ++i) {
      EXPECT_EQ(alone[0].tokens[i].logprob, batch[p].tokens[i].logprob)
          << "prompt " << p << " token " << i;
    }
  }
}

TEST(RealModel, ABatchOfMoreThanTheInvariantRowsDiffersInRoundingAlone) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  Transformer model(tiny(2));
  model.initialise(1);
  spread(model);
  std::vector<Ids> prompts;
  for (TokenId p = 0; p <= kInvariantRows; ++p) prompts.push_back({0, 3 + p % 27, 3 + p * 7 % 26});
  const auto generate = [&](int64_t max_batch) {
    const auto config = real_config(fmt::format(
        "{{max_new_tokens: 6, ignore_eos: true, max_batch: {}, sampler: [greedy]}}", max_batch));
    return Generator(model, small_vocabulary(), config).generate(prompts).completions;
  };
  const auto alone = generate(1), most = generate(kInvariantRows),
             more = generate(kInvariantRows + 1);
  for (size_t p = 0; p < prompts.size(); ++p) {
    ASSERT_EQ(token_ids(most[p]), token_ids(alone[p]));
    ASSERT_EQ(token_ids(more[p]), token_ids(alone[p]));
    for (size_t i = 0; i < alone[p].tokens.size(); ++i) {
      const double exact = alone[p].tokens[i].logprob;
      EXPECT_EQ(most[p].tokens[i].logprob, exact) << "prompt " << p << " token " << i;
      EXPECT_NEAR(more[p].tokens[i].logprob, exact, 1e-4) << "prompt " << p << " token " << i;
    }
  }
}

TEST(RealModel, TrainingGoesOnAfterGenerating) {
  Transformer model(tiny(2));
  model.initialise(1);
  model.train();
  Generator generator(model, small_vocabulary(), real_config("{max_new_tokens: 4}"));
  generator.generate(kRealPrompts);
  const at::Tensor tokens = at::empty({3}, at::kLong).fill_(5),
                   positions = at::empty({3}, at::kLong);
  for (int64_t i = 0; i < 3; ++i) positions.mutable_data_ptr<int64_t>()[i] = i;
  model.logits(model.forward({tokens, positions, {0, 3}})).sum().backward();
  EXPECT_TRUE(model.parameters().front().grad().defined());
}

}  // namespace
}  // namespace continuo::test
