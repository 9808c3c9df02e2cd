// Speculative decoding gives what plain decoding gives, token by token and bit by bit; and what is
// left in a resident cache spares prefill.
#include <functional>
#include <set>

#include "generate/cached_decoder.h"
#include "generate/draft/draft_model.h"
#include "generate/fake_executor.h"
#include "generate/generator.h"
#include "nn/transformer.h"
#include "support/backend.h"
#include "support/drafting.h"
#include "support/expect_error.h"
#include "support/row_fixture.h"
#include "support/tiny_model.h"

namespace continuo::test {
namespace {

using Prompts = std::vector<std::vector<TokenId>>;

constexpr int64_t kTokens = 30;
const Prompts kRunPrompts{
    {0, 5, 6}, {0, 7}, {0, 9, 9, 9, 9, 12, 13}, {3}, {0, 5, 6, 5, 6, 7, 5, 6}};

// Logits that depend on the last two tokens: completions repeat themselves.
LogitsFunction short_memory(double scale) {
  return [scale](std::span<const TokenId> history) {
    return hashed_logits(kTokens, scale)(history.last(std::min<size_t>(2, history.size())));
  };
}

// Every way in which a completion may end in the middle of a draft, every kind of state in a chain.
const char* const kRuns[] = {
    "sampler: [greedy]",
    "sampler: [{temperature: 1}]",
    "sampler: [{temperature: 0.7}, {top_p: 0.9}], samples: 3",
    "sampler: [{temperature: 1.2}, {mirostat: {tau: 2, eta: 0.5}}], samples: 2",
    "sampler: [{repetition: 1.3}, {frequency: 0.4}, {top_k: 8}, {temperature: 0.8}]",
    "sampler: [dry, {min_p: 0.05}, {xtc: 0.5}], samples: 2",
    "sampler: [{no_repeat_ngram: 2}, {min_new_tokens: 8}, {top_p: 0.9}]",
    "sampler: [{temperature: 1}], stop: [ab, gg, hij, zx, k]",
    "sampler: [{temperature: 1}], stop: [\"<|end|>\"], ignore_eos: true",
    "sampler: [{temperature: 1}], eos: [4, 11, 20]",
    "sampler: [{temperature: 1}], ignore_eos: true, max_new_tokens: 1",
    "sampler: [{temperature: 1}], ignore_eos: true, max_new_tokens: 7",
    "sampler: [{temperature: 1}], ignore_eos: true, context: 11",
    "sampler: [{temperature: 1}], samples: 4, max_batch: 3, prefill_chunk: 2",
    "sampler: [{temperature: 1}], ignore_eos: true, samples: 20, max_batch: 80",
};

GenerationConfig run_config(const std::string& yaml, const std::string& more = "") {
  const bool counted = yaml.find("max_new_tokens") != std::string::npos;
  return generation_of(
      fmt::format("{{seed: 11, {}{}{}}}", yaml, counted ? "" : ", max_new_tokens: 30", more));
}

GenerationResult generate(Executor& executor, const GenerationConfig& config,
                          const GenerationAids& aids = {}) {
  Generator generator(executor, small_vocabulary(), config, aids);
  std::map<std::pair<int64_t, int64_t>, std::string> streamed;
  GenerationResult result =
      generator.generate(kRunPrompts, [&](const Completion& c, std::string_view bytes) {
        streamed[{c.prompt, c.sample}] += bytes;
        EXPECT_EQ((streamed[{c.prompt, c.sample}]), c.text_bytes);
      });
  return result;
}

TEST(Generation, AnyDraftGivesThePlainCompletions) {
  std::set<FinishReason> reasons;
  for (const char* run : kRuns) {
    FakeExecutor executor(kTokens, 64, hashed_logits(kTokens, 1.5));
    const GenerationConfig config = run_config(run);
    const GenerationResult plain = generate(executor, config);
    for (const Completion& c : plain.completions) reasons.insert(c.reason);
    for (const double wrong : {0.0, 0.2, 1.0}) {
      for (const int64_t length : {1, 3, 12}) {
        OracleDrafter drafter(plain, length, wrong);
        const GenerationResult drafted = generate(executor, config, {.drafter = &drafter});
        EXPECT_EQ(difference(plain, drafted), "")
            << run << ", wrong " << wrong << ", length " << length;
        EXPECT_EQ(drafted.timings.decoded_tokens, plain.timings.decoded_tokens) << run;
        // A completion that ends with an accepted token has its pass to that token alone.
        const int64_t given = drafted.timings.passes + drafted.timings.accepted_tokens;
        EXPECT_GE(given, plain.timings.passes) << run;
        EXPECT_LE(given, plain.timings.passes + static_cast<int64_t>(plain.completions.size()))
            << run;
        EXPECT_EQ(drafted.timings.accepted_tokens, drafter.accepted) << run;
        EXPECT_TRUE(drafter.live.empty()) << run;
      }
    }
  }
  EXPECT_EQ(reasons.size(), 4u);  // eos, stop, length, context
}

TEST(Generation, RightDraftsSaveTheirPasses) {
  FakeExecutor executor(kTokens, 64, hashed_logits(kTokens));
  const GenerationConfig config =
      generation_of("{ignore_eos: true, max_new_tokens: 31, samples: 2}");
  const GenerationResult plain = generate(executor, config);
  OracleDrafter drafter(plain, 5, 0);
  executor.forwards = 0;
  const GenerationResult drafted = generate(executor, config, {.drafter = &drafter});
  EXPECT_EQ(executor.forwards,
            1 + 5);  // the prompts; 30 tokens after the first, 6 a pass
  EXPECT_EQ(drafted.timings.passes, 10 * 5);
  EXPECT_EQ(drafted.timings.drafted_tokens, 10 * 25);
  EXPECT_EQ(drafted.timings.accepted_tokens, 10 * 25);
  EXPECT_EQ(plain.timings.drafted_tokens, 0);
}

TEST(Generation, LookupGivesThePlainCompletionsInFewerPasses) {
  for (const char* run : kRuns) {
    for (const double scale : {1.5, 4.0}) {
      FakeExecutor executor(kTokens, 64, short_memory(scale));
      const GenerationResult plain = generate(executor, run_config(run));
      for (const char* lookup :
           {", draft: lookup", ", draft: lookup, draft_ngram: 1, draft_tokens: 3"}) {
        EXPECT_EQ(difference(plain, generate(executor, run_config(run, lookup))), "")
            << run << lookup;
      }
    }
  }
  FakeExecutor executor(kTokens, 300, short_memory(4));
  const auto t =
      generate(executor, generation_of("{sampler: [greedy], ignore_eos: true, max_new_tokens: 200, "
                                       "draft: lookup, max_batch: 1}"))
          .timings;
  EXPECT_GT(t.accepted_tokens, 2 * t.passes);
}

TEST(Generation, APassMayHaveAnyNumberOfRows) {
  FakeExecutor executor(kTokens, 64, hashed_logits(kTokens));
  const GenerationConfig config =
      generation_of("{ignore_eos: true, max_new_tokens: 20, samples: 4, draft_tokens: 63}");
  const GenerationResult plain = generate(executor, config);
  OracleDrafter drafter(plain, 60, 0.1);
  executor.largest_input = 0;
  EXPECT_EQ(difference(plain, generate(executor, config, {.drafter = &drafter})), "");
  // The first pass has all that the sequences have yet to draw.
  EXPECT_EQ(executor.largest_input, std::ssize(plain.completions) * 19);
}

// A cache may hold less than it is asked to keep; the rest is fed again.
TEST(Generation, ACacheMayForget) {
  FakeExecutor faithful(kTokens, 64, hashed_logits(kTokens, 1.5)),
      forgetful(kTokens, 64, hashed_logits(kTokens, 1.5));
  forgetful.forgetful = true;
  for (const char* run : kRuns) {
    const GenerationConfig config = run_config(run);
    const GenerationResult plain = generate(faithful, config);
    EXPECT_EQ(difference(plain, generate(forgetful, config)), "") << run;
    for (const double wrong : {0.2, 1.0}) {
      OracleDrafter drafter(plain, 5, wrong);
      EXPECT_EQ(difference(plain, generate(forgetful, config, {.drafter = &drafter})), "")
          << run << ", wrong " << wrong;
    }
    EXPECT_EQ(difference(plain, generate(forgetful, run_config(run, ", draft: lookup"))), "")
        << run;
  }
  const auto largest_input = [](FakeExecutor& executor) {
    const GenerationConfig config =
        generation_of("{ignore_eos: true, max_new_tokens: 30, max_batch: 1}");
    OracleDrafter drafter(generate(executor, config), 5, 1);
    executor.largest_input = 0;
    generate(executor, config, {.drafter = &drafter});
    return executor.largest_input;
  };
  EXPECT_EQ(largest_input(faithful), std::ssize(kRunPrompts.back()));
  EXPECT_GT(largest_input(forgetful), 15);
}

// The negative control of the comparisons above: logits that depend on the number of rows are
// noticed.
TEST(Generation, LogitsThatDependOnTheirCompanyAreNoticed) {
  int64_t rows = 0;
  FakeExecutor careless(kTokens, 64, [&](std::span<const TokenId> history) {
    std::vector<float> logits = hashed_logits(kTokens)(history);
    if (history.size() == 8) logits[9] += static_cast<float>(rows++ == 0 ? 0 : 1e-3);
    return logits;
  });
  const GenerationConfig config = generation_of("{ignore_eos: true, max_new_tokens: 20}");
  const GenerationResult plain = generate(careless, config);
  OracleDrafter drafter(plain, 6, 0.3);
  EXPECT_NE(difference(plain, generate(careless, config, {.drafter = &drafter})), "");
}

// Of blocks that `change` was made to.
ModelSpec small_spec(const std::function<void(BlockSpec&)>& change = [](BlockSpec&) {}) {
  BlockSpec block = {
      .mixer = Attend{.heads = 2, .kv_heads = 1, .dim = 16, .rotary = Rotary{.dim = 16}},
      .mlp = Dense{.width = 64}};
  change(block);
  return {.context = 64,
          .embedding = {.vocabulary = kTokens, .hidden = 32},
          .blocks = {block, block},
          .norm = block.norm};
}

TEST(Generation, ARealModelGivesTheSameBitsWhateverIsDrafted) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const auto model = tiny_model(small_spec(), 3);
  for (const auto format :
       {WeightFormat::f32, WeightFormat::bf16, WeightFormat::q8, WeightFormat::q4}) {
    const auto executor = make_executor(model, {.weights = format});
    // The last of these has passes of more than a hundred rows.
    for (const char* run : {kRuns[0], kRuns[2], kRuns[3], kRuns[7], kRuns[13], kRuns[14]}) {
      const GenerationConfig config = run_config(run);
      const GenerationResult plain = generate(*executor, config);
      OracleDrafter drafter(plain, 6, 0.15);
      EXPECT_EQ(difference(plain, generate(*executor, config, {.drafter = &drafter})), "") << run;
      EXPECT_EQ(difference(plain,
                           generate(*executor, run_config(run, ", draft: lookup, draft_ngram: 1"))),
                "")
          << run;
      EXPECT_GT(drafter.accepted, 0);
      EXPECT_GT(drafter.rejections, 0);
    }
  }
}

TEST(Generation, SoDoModelsOfOtherKindsAndNarrowCaches) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const auto like_gpt = [](BlockSpec& block) {
    block.norm.centred = true;
    block.dense().gated = false;
    block.dense().activation = Activation::gelu;
    block.attend().rotary.reset();
  };
  ModelSpec gpt = small_spec(like_gpt);
  gpt.embedding.positions = gpt.context;
  const ModelSpec parallel = small_spec([](BlockSpec& block) { block.parallel = true; });
  ModelSpec windowed = gpt;
  for (BlockSpec& block : windowed.blocks) block.attend().window = 5;
  for (const ModelSpec& spec : {gpt, parallel, windowed}) {
    const auto model = tiny_model(spec, 3);
    for (const KVFormat cache : {KVFormat::f32, KVFormat::bf16, KVFormat::q8}) {
      const auto executor = make_executor(model, {.cache = cache});
      for (const char* run : {kRuns[0], kRuns[2], kRuns[3]}) {
        const GenerationResult plain = generate(*executor, run_config(run));
        OracleDrafter drafter(plain, 6, 0.15);
        EXPECT_EQ(difference(plain, generate(*executor, run_config(run), {.drafter = &drafter})),
                  "")
            << run;
      }
    }
  }
}

TEST(Generation, AModelDraftsForItselfInFewerBits) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const auto model = tiny_model(small_spec(), 3);
  const auto executor = make_executor(model, {});
  const auto narrow = make_executor(model, {.weights = WeightFormat::q4});
  for (const char* run : {kRuns[0], kRuns[2], kRuns[3], kRuns[4], kRuns[7]}) {
    DraftModel drafter(*narrow, small_vocabulary(), 4);
    const GenerationConfig config = run_config(run, ", max_batch: 2");
    const GenerationResult plain = generate(*executor, config);
    const GenerationResult drafted = generate(*executor, config, {.drafter = &drafter});
    EXPECT_EQ(difference(plain, drafted), "") << run;
    EXPECT_GT(drafted.timings.accepted_tokens, drafted.timings.drafted_tokens / 3) << run;
  }
}

TEST(Generation, ADraftModelMustBeGiven) {
  FakeExecutor executor(kTokens, 64, hashed_logits(kTokens));
  expect_error(
      [&] { Generator(executor, small_vocabulary(), generation_of("{draft: some/where}")); },
      {"some/where"});
}

// Requests of a session: each continues what the one before left.
TEST(Generation, AResidentCacheSparesWhatPromptsShare) {
  FakeExecutor executor(kTokens, 64, hashed_logits(kTokens));
  CachedDecoder resident(executor, /*keeps=*/1);
  const GenerationConfig config = generation_of("{ignore_eos: true, max_new_tokens: 6}");
  Generator fresh(executor, small_vocabulary(), config),
      session(executor, small_vocabulary(), config, {.resident = &resident});
  std::vector<TokenId> prompt{0, 5, 6, 7};
  const auto ask = [&](int64_t reused) {
    const Prompts prompts{prompt};
    const GenerationResult result = session.generate(prompts);
    EXPECT_EQ(difference(fresh.generate(prompts), result), "");
    EXPECT_EQ(result.timings.reused_tokens, reused);
    EXPECT_EQ(result.timings.prompt_tokens, static_cast<int64_t>(prompt.size()) - reused);
    return result.completions.front();
  };
  const Completion first = ask(0);
  for (const GeneratedToken& token : first.tokens) prompt.push_back(token.id);
  prompt.push_back(8);
  ask(4 + 5);  // all but the token drawn last, which the model has not seen
  ask(10);     // the same again: only its last token
  prompt.resize(6);
  ask(5);
  prompt = {9, 9};
  ask(0);
  EXPECT_GT(resident.bytes(), 0);
}

TEST(Generation, WhatAResidentCacheForgotIsPrefilledAgain) {
  FakeExecutor executor(kTokens, 64, hashed_logits(kTokens));
  executor.forgetful = true;
  CachedDecoder resident(executor, /*keeps=*/1);
  const GenerationConfig config = generation_of("{ignore_eos: true, max_new_tokens: 6}");
  Generator fresh(executor, small_vocabulary(), config),
      session(executor, small_vocabulary(), config, {.resident = &resident});
  const Prompts prompts{{0, 5, 6, 7, 8, 9, 10}};
  for (const int64_t reused : {0, 3, 3}) {
    const GenerationResult result = session.generate(prompts);
    EXPECT_EQ(difference(fresh.generate(prompts), result), "");
    EXPECT_EQ(result.timings.reused_tokens, reused);
    EXPECT_EQ(result.timings.prompt_tokens, 7 - reused);
  }
}

TEST(Generation, AResidentCacheHoldsOneSequence) {
  FakeExecutor executor(kTokens, 2000, hashed_logits(kTokens));
  CachedDecoder resident(executor, /*keeps=*/1);
  int64_t bytes = 0;
  for (int round = 0; round < 6; ++round) {
    OracleDrafter drafter({}, 0, 0);
    generate(executor, generation_of("{ignore_eos: true, max_new_tokens: 40, samples: 3}"),
             {.resident = &resident});
    if (round == 0) bytes = resident.bytes();
    EXPECT_EQ(resident.bytes(), bytes);
  }
}

TEST(Generation, ErrorsLeaveNothingInAResidentCache) {
  FakeExecutor executor(kTokens, 64, [](std::span<const TokenId> history) {
    std::vector<float> logits(kTokens, 0);
    if (history.size() == 9) logits[7] = std::numeric_limits<float>::quiet_NaN();
    return logits;
  });
  CachedDecoder resident(executor);
  const GenerationResult result =
      generate(executor, generation_of("{ignore_eos: true, samples: 2}"), {.resident = &resident});
  for (const Completion& completion : result.completions)
    EXPECT_EQ(completion.reason, FinishReason::kError);
  EXPECT_EQ(resident.bytes(), 0);
}

TEST(Generation, AResidentCacheOfTheEngineIsExact) {
  if (test::on_reference()) GTEST_SKIP() << "a promise of the CPU\'s own backend";
  const auto model = tiny_model(small_spec(), 3);
  for (const auto format : {WeightFormat::f32, WeightFormat::q4}) {
    const auto executor = make_executor(model, {.weights = format});
    CachedDecoder resident(*executor, /*keeps=*/1);
    const GenerationConfig config =
        generation_of("{ignore_eos: true, max_new_tokens: 20, sampler: [{temperature: 1}]}");
    Generator fresh(*executor, small_vocabulary(), config),
        session(*executor, small_vocabulary(), config, {.resident = &resident});
    Prompts prompts{{0, 5, 6}};
    for (int turn = 0; turn < 2; ++turn) {
      const GenerationResult result = session.generate(prompts);
      EXPECT_EQ(difference(fresh.generate(prompts), result), "");
      for (const GeneratedToken& token : result.completions.front().tokens)
        prompts[0].push_back(token.id);
    }
    EXPECT_EQ(session.generate(prompts).timings.reused_tokens, 42);
  }
}

}  // namespace
}  // namespace continuo::test
