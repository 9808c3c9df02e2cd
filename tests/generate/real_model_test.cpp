// The generator over executors of the shared Transformer: cached, batched and chunked decoding
// against the naive generator. Rounding differs between an engine and the modules of training, so
// the rows are spread wide enough not to tie.
#include "generate/generator.h"
#include "nn/transformer.h"
#include "support/backend.h"
#include "support/drafting.h"
#include "support/naive_generator.h"
#include "support/row_fixture.h"
#include "support/tiny_model.h"

namespace continuo::test {
namespace {

using Ids = std::vector<TokenId>;

ModelSpec real_spec(int64_t kv_heads) {
  const BlockSpec block = {
      .mixer = Attend{.heads = 4, .kv_heads = kv_heads, .dim = 8, .rotary = Rotary{.dim = 8}},
      .mlp = Dense{.width = 48}};
  return {.context = 48, .embedding = {.vocabulary = 30, .hidden = 32}, .blocks = {block, block}};
}

Ids token_ids(const Completion& completion) {
  Ids result;
  for (const GeneratedToken& token : completion.tokens) result.push_back(token.id);
  return result;
}

const std::vector<Ids> kRealPrompts{{0, 5, 6}, {0, 7}, {0, 9, 9, 9, 9, 12, 13, 4, 4, 21}, {3}};

TEST(RealModel, CachedEqualsNaive) {
  for (int64_t kv_heads : {1, 2, 4}) {
    const auto model = tiny_model(real_spec(kv_heads), kv_heads);
    const auto executor = make_executor(model, {});
    for (const char* sampler :
         {"[greedy]", "[{temperature: 1}]", "[{temperature: 1.5}, {mirostat: 2}]"}) {
      const auto config = generation_of(fmt::format(
          "{{max_new_tokens: 20, samples: 2, max_batch: 5, prefill_chunk: 4, sampler: {}}}",
          sampler));
      Generator generator(*executor, small_vocabulary(), config);
      for (const Completion& c : generator.generate(kRealPrompts).completions) {
        const auto naive = [&](auto& oracle) {
          return naive_generate(oracle, small_vocabulary(), config,
                                kRealPrompts[static_cast<size_t>(c.prompt)],
                                static_cast<uint64_t>(c.prompt), static_cast<uint64_t>(c.sample));
        };
        EXPECT_EQ(token_ids(c), naive(*model))
            << sampler << " prompt " << c.prompt << " sample " << c.sample;
        EXPECT_EQ(token_ids(c), naive(*executor))
            << sampler << " prompt " << c.prompt << " sample " << c.sample;
      }
    }
  }
}

TEST(RealModel, LogProbabilitiesAreBitEqualAloneAndInABatch) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const auto model = std::make_shared<Transformer>(real_spec(2));
  model->initialise(1);
  const auto executor = make_executor(model, {});
  Generator generator(
      *executor, small_vocabulary(),
      generation_of("{max_new_tokens: 20, ignore_eos: true, sampler: [{temperature: 1}]}"));
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

TEST(RealModel, ABatchOfAnySizeGivesTheBitsOfASequenceAlone) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const auto model = tiny_model(real_spec(2));
  std::vector<Ids> prompts;
  for (TokenId p = 0; p < 200; ++p) prompts.push_back({0, 3 + p % 27, 3 + p * 7 % 26});
  for (const ExecutorOptions& options :
       {ExecutorOptions{}, ExecutorOptions{.weights = WeightFormat::bf16, .cache = KVFormat::bf16},
        ExecutorOptions{.weights = WeightFormat::q8, .cache = KVFormat::q8},
        ExecutorOptions{.weights = WeightFormat::q4}}) {
    const auto executor = make_executor(model, options);
    for (const char* sampler : {"[greedy]", "[{temperature: 1}]"}) {
      const auto generate = [&](int64_t max_batch) {
        const auto config = generation_of(
            fmt::format("{{max_new_tokens: 6, ignore_eos: true, max_batch: {}, sampler: {}}}",
                        max_batch, sampler));
        return Generator(*executor, small_vocabulary(), config).generate(prompts);
      };
      const GenerationResult alone = generate(1);
      for (const int64_t max_batch : {64, 65, 200}) {
        EXPECT_EQ(difference(alone, generate(max_batch)), "")
            << name(options.weights) << ", " << max_batch << " sequences, " << sampler;
      }
    }
  }
}

TEST(RealModel, PromptsOfAnyLengthGiveTheSameBitsInAnyChunks) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  ModelSpec spec = real_spec(2);
  spec.context = 1000;
  spec.blocks[1].attend().window = 100;
  const auto executor = make_executor(tiny_model(spec), {});
  std::vector<Ids> prompts;
  for (const size_t length : {70u, 257u, 900u}) {
    prompts.emplace_back();
    for (size_t i = 0; i < length; ++i)
      prompts.back().push_back(static_cast<TokenId>(3 + (i * i + length) % 27));
  }
  const auto generate = [&](int64_t chunk) {
    const auto config = generation_of(fmt::format(
        "{{max_new_tokens: 6, ignore_eos: true, prefill_chunk: {}, sampler: [{{temperature: 1}}]}}",
        chunk));
    return Generator(*executor, small_vocabulary(), config).generate(prompts);
  };
  const GenerationResult whole = generate(1000);
  for (const int64_t chunk : {1, 65, 256}) EXPECT_EQ(difference(whole, generate(chunk)), "");
}

TEST(RealModel, TrainingGoesOnAfterGenerating) {
  const auto model = std::make_shared<Transformer>(real_spec(2));
  model->initialise(1);
  const auto executor = make_executor(model, {});
  Generator generator(*executor, small_vocabulary(), generation_of("{max_new_tokens: 4}"));
  for (const bool training : {false, true}) {
    model->train(training);
    generator.generate(kRealPrompts);
    EXPECT_EQ(model->is_training(), training);
  }
  const at::Tensor tokens = at::empty({3}, at::kLong).fill_(5),
                   positions = at::empty({3}, at::kLong);
  for (int64_t i = 0; i < 3; ++i) positions.mutable_data_ptr<int64_t>()[i] = i;
  model->logits(model->forward({tokens, positions, {0, 3}})).sum().backward();
  EXPECT_TRUE(model->parameters().front().grad().defined());
}

// As a trainer does that shows samples.
TEST(RealModel, ARefreshedExecutorGeneratesWithTheNewWeights) {
  const auto model = tiny_model(real_spec(2)), changed = tiny_model(real_spec(2), 7);
  const auto executor = make_executor(model, {}), expected = make_executor(changed, {});
  const auto config = generation_of("{max_new_tokens: 12, ignore_eos: true, sampler: [greedy]}");
  const auto generate = [&](Executor& with) {
    return Generator(with, small_vocabulary(), config).generate(kRealPrompts);
  };
  EXPECT_NE(difference(generate(*executor), generate(*expected)), "");
  {
    const at::NoGradGuard no_grad;
    const std::vector<at::Tensor> from = changed->parameters();
    const std::vector<at::Tensor> to = model->parameters();
    for (size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i]);
  }
  executor->refresh();
  EXPECT_EQ(difference(generate(*executor), generate(*expected)), "");
}

}  // namespace
}  // namespace continuo::test
