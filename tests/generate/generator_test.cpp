#include "generate/generator.h"

#include <set>

#include "generate/fake_executor.h"
#include "support/expect_error.h"
#include "support/generation_of.h"
#include "support/naive_generator.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

using Ids = std::vector<TokenId>;
using Prompts = std::vector<Ids>;

constexpr int64_t kVocabulary = 30;

Ids ids(const Completion& completion) {
  Ids result;
  for (const GeneratedToken& token : completion.tokens) result.push_back(token.id);
  return result;
}

bool same(const Completion& a, const Completion& b) {
  if (ids(a) != ids(b) || a.text_bytes != b.text_bytes || a.reason != b.reason) return false;
  for (size_t i = 0; i < a.tokens.size(); ++i) {
    if (a.tokens[i].logprob != b.tokens[i].logprob ||
        a.tokens[i].sampled_logprob != b.tokens[i].sampled_logprob) {
      return false;
    }
  }
  return true;
}

FakeExecutor hashed(int64_t context = 64) {
  return FakeExecutor(kVocabulary, context, hashed_logits(kVocabulary));
}

const Prompts kPrompts{{0, 5, 6}, {0, 7}, {0, 9, 9, 9, 9, 12, 13}, {3}, {0, 5, 6}};

TEST(Generator, EqualsTheNaiveGeneratorForEveryChain) {
  for (const char* sampler :
       {"[greedy]", "[{temperature: 1}]", "[{repetition: 1.3}, {top_k: 8}, {temperature: 0.8}]",
        "[dry, {min_p: 0.05}, {xtc: 0.5}]", "[{temperature: 1.2}, {mirostat: {tau: 2, eta: 0.5}}]",
        "[{no_repeat_ngram: 2}, {min_new_tokens: 8}, {top_p: 0.9}]"}) {
    auto config = generation_of(fmt::format(
        "{{max_new_tokens: 12, samples: 3, seed: 5, max_batch: 4, prefill_chunk: 2, sampler: {}}}",
        sampler));
    FakeExecutor executor = hashed();
    Generator generator(executor, small_vocabulary(), config);
    const auto result = generator.generate(kPrompts);
    ASSERT_EQ(result.completions.size(), kPrompts.size() * 3);
    for (const Completion& c : result.completions) {
      EXPECT_EQ(ids(c),
                naive_generate(executor, small_vocabulary(), config,
                               kPrompts[static_cast<size_t>(c.prompt)],
                               static_cast<uint64_t>(c.prompt), static_cast<uint64_t>(c.sample)))
          << sampler << " prompt " << c.prompt << " sample " << c.sample;
    }
  }
}

TEST(Generator, CompletionsDoNotDependOnTheBatch) {
  const std::string common =
      "max_new_tokens: 15, samples: 2, sampler: [{temperature: 1}, {mirostat: 3}]";
  FakeExecutor executor = hashed();
  Generator whole(executor, small_vocabulary(), generation_of("{" + common + "}"));
  const auto all = whole.generate(kPrompts).completions;
  // Other batch limits and prefill chunks.
  for (const char* other :
       {"max_batch: 1", "max_batch: 3", "prefill_chunk: 1", "prefill_chunk: 3"}) {
    Generator generator(executor, small_vocabulary(),
                        generation_of(fmt::format("{{{}, {}}}", common, other)));
    const auto result = generator.generate(kPrompts).completions;
    for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(same(all[i], result[i])) << other;
  }
  // Alone, under the key that it had in the batch; and in another order.
  for (size_t p = 0; p < kPrompts.size(); ++p) {
    const std::vector<uint64_t> keys{p};
    const auto alone = whole.generate(Prompts{kPrompts[p]}, {}, {}, keys).completions;
    for (size_t s = 0; s < 2; ++s) EXPECT_TRUE(same(all[p * 2 + s], alone[s]));
  }
  const std::vector<uint64_t> keys{2, 0};
  const auto swapped = whole.generate(Prompts{kPrompts[2], kPrompts[0]}, {}, {}, keys).completions;
  EXPECT_TRUE(same(swapped[0], all[4]));
  EXPECT_TRUE(same(swapped[2], all[0]));
}

TEST(Generator, SeedsSamplesAndKeysGiveOtherCompletions) {
  FakeExecutor executor = hashed();
  const std::string common = "max_new_tokens: 15, samples: 2, sampler: [{temperature: 2}]";
  Generator a(executor, small_vocabulary(), generation_of("{" + common + "}"));
  Generator b(executor, small_vocabulary(), generation_of("{" + common + ", seed: 1}"));
  const auto first = a.generate(kPrompts).completions;
  EXPECT_NE(ids(first[0]), ids(b.generate(kPrompts).completions[0]));
  EXPECT_NE(ids(first[0]), ids(first[1]));
  EXPECT_NE(ids(first[0]), ids(first[8]));  // the same prompt under another key
  EXPECT_TRUE(same(first[0], a.generate(kPrompts).completions[0]));
}

TEST(Generator, SharesThePrefillAmongSamples) {
  FakeExecutor executor = hashed();
  Generator generator(
      executor, small_vocabulary(),
      generation_of("{max_new_tokens: 2, samples: 6, max_batch: 4, ignore_eos: true}"));
  const auto result = generator.generate(Prompts{{0, 5, 6, 7}});
  EXPECT_EQ(result.timings.prompt_tokens, 4);
  EXPECT_EQ(result.timings.decoded_tokens, 12);
  EXPECT_EQ(executor.forwards, 1 + 2);  // one prefill; samples 1-4, then 5-6
  EXPECT_EQ(executor.largest_batch, 4);
}

TEST(Generator, PrefillsInChunks) {
  FakeExecutor executor = hashed();
  Generator generator(executor, small_vocabulary(),
                      generation_of("{max_new_tokens: 1, prefill_chunk: 4}"));
  generator.generate(Prompts{Ids(10, 5)});
  EXPECT_EQ(executor.forwards, 3);
  EXPECT_EQ(executor.largest_input, 4);
}

// A generator that says a script after the prompt {0}.
Completion say(const Ids& script, const std::string& yaml, int64_t context = 64) {
  FakeExecutor executor(kVocabulary, context, scripted_logits(kVocabulary, 1, script));
  Generator generator(executor, small_vocabulary(),
                      generation_of("{sampler: [greedy], " + yaml + "}"));
  return generator.generate(Prompts{{0}}).completions.front();
}

TEST(Generator, EndsAtEndOfSequence) {
  const Completion c = say({7, 4, 11, 1, 5}, "max_new_tokens: 9");
  EXPECT_EQ(c.reason, FinishReason::kEos);
  EXPECT_EQ(c.stop_token, 1);
  EXPECT_EQ(ids(c), (Ids{7, 4, 11, 1}));
  EXPECT_EQ(c.text_bytes, "hel");
}

TEST(Generator, EndsAtEachTokenOfTheSetAndAtOthersWhenTold) {
  const Completion c = say({7, 9, 1}, "eos: [9, 5]");
  EXPECT_EQ(c.stop_token, 9);
  EXPECT_EQ(c.text_bytes, "h");
  const Completion ignored = say({7, 1, 9}, "ignore_eos: true, max_new_tokens: 3");
  EXPECT_EQ(ignored.reason, FinishReason::kLength);
  EXPECT_EQ(ids(ignored), (Ids{7, 1, 9}));
  EXPECT_EQ(ignored.text_bytes, "hj");
}

TEST(Generator, EndsAtStopStringsAcrossTokens) {
  const Completion c = say({7, 4, 11, 11, 14, 7}, "stop: [\"lo\", zz]");
  EXPECT_EQ(c.reason, FinishReason::kStop);
  EXPECT_EQ(c.text_bytes, "hel");
  EXPECT_EQ(c.stop_string, "lo");
  EXPECT_EQ(c.stop_offset, 3);
  EXPECT_EQ(ids(c), (Ids{7, 4, 11, 11, 14}));
  // Special tokens are matched as they are spelled and stay hidden.
  const Completion special = say({7, 2, 8}, "stop: [\"<|end|>\"]");
  EXPECT_EQ(special.reason, FinishReason::kStop);
  EXPECT_EQ(special.text_bytes, "h");
  // The stop string must lie in the completion, not begin in the prompt.
  EXPECT_EQ(say({7, 8}, "stop: [\"<s>h\"], max_new_tokens: 2").reason, FinishReason::kLength);
}

TEST(Generator, EndsAtLengthAndContext) {
  const Completion length = say({7, 4, 11}, "max_new_tokens: 2, stop: [ez]");
  EXPECT_EQ(length.reason, FinishReason::kLength);
  EXPECT_EQ(length.text_bytes, "he");  // the held "e" is flushed
  const Completion context = say({7, 4, 11, 11}, "max_new_tokens: 9", 4);
  EXPECT_EQ(context.reason, FinishReason::kContext);
  EXPECT_EQ(ids(context), (Ids{7, 4, 11}));
  EXPECT_EQ(say({7, 4, 11, 11}, "context: 3").tokens.size(), 2u);
  const Completion full = say({7}, "context: 1");
  EXPECT_EQ(full.reason, FinishReason::kContext);
  EXPECT_TRUE(full.tokens.empty());
  // Length comes first where both are reached.
  EXPECT_EQ(say({7, 4, 11, 11}, "max_new_tokens: 3", 4).reason, FinishReason::kLength);
}

TEST(Generator, EndsAtTheTimeLimit) {
  FakeExecutor executor = hashed();
  Generator generator(executor, small_vocabulary(), generation_of("{time_limit: 1e-9}"));
  for (const Completion& c : generator.generate(kPrompts).completions) {
    EXPECT_EQ(c.reason, FinishReason::kTime);
  }
}

TEST(Generator, StopsWhenInterruptedAndKeepsWhatThereIs) {
  FakeExecutor executor = hashed();
  Generator generator(executor, small_vocabulary(),
                      generation_of("{max_batch: 2, ignore_eos: true, max_new_tokens: 50}"));
  int asked = 0;
  const auto result = generator.generate(kPrompts, {}, [&] { return ++asked > 6; });
  EXPECT_EQ(result.completions[0].reason, FinishReason::kInterrupted);
  EXPECT_GT(result.completions[0].tokens.size(), 2u);
  EXPECT_EQ(result.completions[4].reason, FinishReason::kInterrupted);
  EXPECT_TRUE(result.completions[4].tokens.empty());
  EXPECT_EQ(result.completions[4].prompt, 4);
}

TEST(Generator, StreamsExactlyTheFinalBytes) {
  FakeExecutor executor = hashed();
  Generator generator(
      executor, small_vocabulary(),
      generation_of("{max_new_tokens: 40, samples: 2, stop: [ab, xyz, gg, hij], max_batch: 3}"));
  std::map<std::pair<int64_t, int64_t>, std::string> streamed;
  std::map<std::pair<int64_t, int64_t>, size_t> tokens;
  const auto result =
      generator.generate(kPrompts, [&](const Completion& c, std::string_view bytes) {
        std::string& text = streamed[{c.prompt, c.sample}];
        text += bytes;
        tokens[{c.prompt, c.sample}] = c.tokens.size();
        EXPECT_EQ(text, c.text_bytes);
      });
  for (const Completion& c : result.completions) {
    EXPECT_EQ((streamed[{c.prompt, c.sample}]), c.text_bytes);
    EXPECT_EQ((tokens[{c.prompt, c.sample}]), c.tokens.size());
  }
}

TEST(Generator, ReportsRawAndSampledLogProbabilities) {
  FakeExecutor executor(4, 16, [](std::span<const TokenId>) {
    return std::vector<float>{std::log(.5f), std::log(.3f), std::log(.15f), std::log(.05f)};
  });
  Vocabulary vocabulary = small_vocabulary(4);
  vocabulary.eos = {};
  Generator generator(executor, vocabulary,
                      generation_of("{sampler: [{top_k: 2}], max_new_tokens: 14}"));
  std::set<TokenId> seen;
  const auto result = generator.generate(Prompts{{0}});
  for (const GeneratedToken& t : result.completions[0].tokens) {
    EXPECT_NEAR(t.logprob, std::log(t.id == 0 ? .5 : .3), 1e-6);
    EXPECT_NEAR(t.sampled_logprob, std::log(t.id == 0 ? .5 / .8 : .3 / .8), 1e-6);
    seen.insert(t.id);
  }
  EXPECT_EQ(seen, (std::set<TokenId>{0, 1}));
}

TEST(Generator, NeverDrawsBeyondTheVocabulary) {
  // The head may be padded to a round number of rows.
  FakeExecutor executor(
      8, 32, [](std::span<const TokenId>) { return std::vector<float>{0, 0, 0, 0, 0, 9, 9, 9}; });
  Generator generator(executor, small_vocabulary(5),
                      generation_of("{ignore_eos: true, max_new_tokens: 20}"));
  for (TokenId id : ids(generator.generate(Prompts{{0}}).completions[0])) EXPECT_LT(id, 5);
  FakeExecutor small(4, 32, [](std::span<const TokenId>) { return std::vector<float>(4, 0); });
  Generator mismatched(small, small_vocabulary(5), generation_of(""));
  expect_error([&] { mismatched.generate(Prompts{{0}}); }, {"4 logits", "5 tokens"});
}

TEST(Generator, RejectsFaultyPrompts) {
  FakeExecutor executor = hashed(5);
  Generator generator(executor, small_vocabulary(), generation_of(""));
  expect_error([&] { generator.generate(Prompts{}); }, {"no prompt"});
  expect_error([&] { generator.generate(Prompts{{3}, {}}); }, {"prompt 1 is empty"});
  expect_error([&] { generator.generate(Prompts{Ids(6, 3)}); },
               {"prompt 0 has 6 tokens, the context holds 5"});
  expect_error([&] { generator.generate(Prompts{{3, 30}}); }, {"token id 30"});
  const std::vector<uint64_t> keys{1, 2};
  expect_error([&] { generator.generate(Prompts{{3}}, {}, {}, keys); }, {"2 sequence keys for 1"});
}

TEST(Generator, FaultsNamePromptSampleAndPosition) {
  FakeExecutor executor(kVocabulary, 64, [](std::span<const TokenId> history) {
    std::vector<float> logits(kVocabulary, 0);
    if (history.size() == 4 && history[0] == 3) logits[7] = std::numeric_limits<float>::quiet_NaN();
    return logits;
  });
  Generator generator(executor, small_vocabulary(), generation_of("{sampler: [greedy]}"));
  const auto expect_parts = [](const std::string& text, std::initializer_list<const char*> parts) {
    for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  const auto both = generator.generate(Prompts{{0, 5, 6}, {3, 5}}).completions;
  EXPECT_NE(both[0].reason, FinishReason::kError) << "one that fails ends alone";
  EXPECT_EQ(both[1].reason, FinishReason::kError);
  EXPECT_EQ(both[1].tokens.size(), 2u);
  expect_parts(both[1].error, {"prompt 1, sample 0, position 4", "logit of token 7 is NaN"});
  Generator emptied(
      executor, small_vocabulary(),
      generation_of("{sampler: [greedy, {no_repeat_ngram: {n: 1, exempt_special: false}}]}"));
  const auto one = emptied.generate(Prompts{{0, 5, 6}}).completions;
  EXPECT_EQ(one[0].reason, FinishReason::kError);
  expect_parts(one[0].error, {"prompt 0, sample 0, position 3", "no_repeat_ngram left no token"});
}

TEST(Generator, WhatACallbackThrowsComesThrough) {
  FakeExecutor executor = hashed();
  Generator generator(executor, small_vocabulary(), generation_of("{ignore_eos: true}"));
  EXPECT_THROW(
      generator.generate(
          kPrompts, [](const Completion&, std::string_view) { throw std::runtime_error("full"); }),
      std::runtime_error);
}

TEST(Generator, RejectsFaultyConfigs) {
  FakeExecutor executor = hashed();
  expect_error(
      [&] { Generator(executor, small_vocabulary(), generation_of("{sampler: [tpo_k]}")); },
      {"unknown stage tpo_k", "test.yaml:1"});
  expect_error([&] { Generator(executor, small_vocabulary(), generation_of("{eos: [99]}")); },
               {"token id 99"});
  expect_error(
      [&] {
        Generator(executor, small_vocabulary(),
                  generation_of("{sampler: [{banned_words: {ids: [99]}}]}"));
      },
      {"banned_words", "99"});
}

TEST(FinishReason, HasDistinctNames) {
  std::set<std::string_view> names;
  for (int i = 0; i < 7; ++i) names.insert(name(static_cast<FinishReason>(i)));
  EXPECT_EQ(names.size(), 7u);
}

}  // namespace
}  // namespace continuo::test
