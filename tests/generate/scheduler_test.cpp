// Requests of every kind side by side: what each gives does not depend on the others, on when it
// came, or on what was cancelled beside it.
#include "generate/scheduler.h"

#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "generate/draft/prompt_lookup.h"
#include "generate/fake_executor.h"
#include "support/drafting.h"
#include "support/expect_error.h"
#include "support/row_fixture.h"

namespace continuo::test {
namespace {

constexpr int64_t kIds = 30;

struct Recorder : Sink {
  bool token(const Completion& so_far, std::string_view bytes) noexcept override {
    streamed[so_far.sample] += bytes;
    if (on_token) on_token();
    return ++tokens != full_after;
  }
  void finished(Completion&& completion) noexcept override {
    EXPECT_FALSE(done.contains(completion.sample)) << "told twice";
    done.emplace(completion.sample, std::move(completion));
  }

  std::map<int64_t, std::string> streamed;
  std::map<int64_t, Completion> done;
  std::function<void()> on_token;
  int64_t tokens = 0, full_after = -1;
};

std::shared_ptr<SequenceRules> rules_of(const std::string& sampler, int64_t max_new_tokens,
                                        std::vector<std::string> stops = {}) {
  auto rules = std::make_shared<SequenceRules>();
  GenerationConfig config;
  config.sampler = parse_yaml(sampler, "test.yaml");
  const Vocabulary vocabulary = small_vocabulary();
  rules->chain = SamplerChain(resolve_chain(config), vocabulary);
  rules->vocabulary = std::make_shared<const Vocabulary>(vocabulary);
  rules->stops = std::make_shared<const StopStrings>(std::move(stops));
  rules->max_new_tokens = max_new_tokens;
  rules->context = 64;
  rules->ignore_eos = true;
  return rules;
}

struct Asked {
  Request request;
  std::shared_ptr<Recorder> recorder;
};

Asked ask(std::vector<TokenId> prompt, std::shared_ptr<const SequenceRules> rules,
          int64_t samples = 1) {
  const auto recorder = std::make_shared<Recorder>();
  Request request = {.prompt = std::move(prompt), .rules = std::move(rules), .sink = recorder};
  request.samples = samples;
  request.seed = 7;
  request.draft_tokens = 4;
  return {std::move(request), recorder};
}

// Requests that differ in everything that a request has.
std::vector<Asked> mixed_requests(int64_t adapter) {
  std::vector<Asked> all;
  all.push_back(ask({0, 5, 6}, rules_of("[greedy]", 20)));
  all.push_back(ask({0, 7}, rules_of("[{temperature: 1}]", 9), 3));
  all.push_back(ask({0, 5, 6, 8, 9, 10, 11, 12}, rules_of("[{top_k: 5}, {temperature: 2}]", 30)));
  all.push_back(ask({3}, rules_of("[{repetition: 1.3}, {temperature: 0.7}]", 12, {"hi", "k"}), 2));
  all.push_back(ask({0, 5, 6}, rules_of("[{mirostat: 3}]", 15)));
  all.push_back(ask({0, 5, 6}, rules_of("[{temperature: 1}]", 40)));
  all[4].request.adapter = adapter;
  all[5].request.key = 9;
  for (size_t i = 0; i < all.size(); ++i) all[i].request.index = static_cast<int64_t>(i);
  return all;
}

FakeExecutor hashed_executor() { return FakeExecutor(kIds, 64, hashed_logits(kIds, 1.5)); }

std::vector<TokenId> tokens_of(const Completion& completion) {
  std::vector<TokenId> ids;
  for (const GeneratedToken& token : completion.tokens) ids.push_back(token.id);
  return ids;
}

using Completions = std::map<std::pair<int64_t, int64_t>, std::vector<TokenId>>;

Completions completions_of(const std::vector<Asked>& asked) {
  Completions all;
  for (const Asked& one : asked) {
    EXPECT_EQ(std::ssize(one.recorder->done), one.request.samples);
    for (const auto& [sample, completion] : one.recorder->done) {
      all[{completion.prompt, sample}] = tokens_of(completion);
      const auto streamed = one.recorder->streamed.find(sample);
      EXPECT_EQ(completion.text_bytes,
                streamed == one.recorder->streamed.end() ? "" : streamed->second);
    }
  }
  return all;
}

Request copy_of(const Request& request) { return request; }

// Each request by itself.
Completions apart() {
  std::vector<Asked> asked = mixed_requests(0);
  for (const Asked& one : asked) {
    FakeExecutor executor = hashed_executor();
    executor.add_adapter({});
    CachedDecoder decoder(executor);
    Scheduler scheduler(decoder, {});
    scheduler.submit(copy_of(one.request));
    while (scheduler.step()) {
    }
  }
  return completions_of(asked);
}

TEST(Scheduler, RequestsOfEveryKindGoTogetherAsTheyGoApart) {
  const Completions expected = apart();
  for (const int64_t max_batch : {1, 2, 5, 32}) {
    for (const int64_t chunk : {1, 3, 100}) {
      for (const bool drafts : {false, true}) {
        FakeExecutor executor = hashed_executor();
        std::vector<Asked> asked = mixed_requests(executor.add_adapter({}));
        CachedDecoder decoder(executor, 2);
        PromptLookup lookup(1);
        Scheduler scheduler(decoder, {.max_batch = max_batch, .prefill_chunk = chunk},
                            drafts ? &lookup : nullptr);
        for (const Asked& one : asked) {
          scheduler.submit(copy_of(one.request));
          scheduler.step();  // they come while others are at work
        }
        while (scheduler.step()) {
        }
        EXPECT_EQ(completions_of(asked), expected)
            << max_batch << " sequences, slices of " << chunk << (drafts ? ", drafted" : "");
        EXPECT_LE(executor.largest_batch, max_batch);
      }
    }
  }
}

TEST(Scheduler, PromptsAreReadInSlicesBesideLiveSequences) {
  FakeExecutor executor = hashed_executor();
  CachedDecoder decoder(executor);
  Scheduler scheduler(decoder, {.prefill_chunk = 5});
  const Asked first = ask({0, 1}, rules_of("[greedy]", 40)),
              second = ask(std::vector<TokenId>(20, 4), rules_of("[greedy]", 3));
  scheduler.submit(copy_of(first.request));
  for (int i = 0; i < 3; ++i) scheduler.step();
  scheduler.submit(copy_of(second.request));
  executor.largest_input = 0;
  for (int i = 0; i < 4; ++i) {
    const int64_t before = first.recorder->tokens;
    scheduler.step();
    EXPECT_EQ(first.recorder->tokens, before + 1) << "the live one waits for nothing";
    EXPECT_EQ(second.recorder->tokens, 0);
  }
  EXPECT_EQ(executor.largest_input, 1 + 5);
  scheduler.step();
  EXPECT_GT(second.recorder->tokens, 0);
}

TEST(Scheduler, HigherPrioritiesAreAdmittedFirst) {
  FakeExecutor executor = hashed_executor();
  CachedDecoder decoder(executor);
  Scheduler scheduler(decoder, {.max_batch = 1});
  std::vector<int64_t> order;
  std::vector<Asked> asked;
  for (const int64_t priority : {0, 0, 5, 1}) {
    asked.push_back(ask({0, 1}, rules_of("[greedy]", 2)));
    asked.back().request.priority = priority;
    asked.back().recorder->on_token = [&order, name = std::ssize(asked) - 1] {
      if (order.empty() || order.back() != name) order.push_back(name);
    };
    scheduler.submit(copy_of(asked.back().request));
  }
  while (scheduler.step()) {
  }
  EXPECT_EQ(order, (std::vector<int64_t>{2, 3, 0, 1}));
}

TEST(Scheduler, CancelledRequestsEndWithWhatTheyHave) {
  FakeExecutor executor = hashed_executor();
  CachedDecoder decoder(executor);
  Scheduler scheduler(decoder, {.max_batch = 3});
  const Asked live = ask({0, 1}, rules_of("[greedy]", 40), 2),
              waiting = ask({0, 2}, rules_of("[greedy]", 40), 4),
              other = ask({0, 3}, rules_of("[greedy]", 10));
  const auto first = scheduler.submit(copy_of(live.request)),
             second = scheduler.submit(copy_of(waiting.request));
  scheduler.submit(copy_of(other.request));
  for (int i = 0; i < 4; ++i) scheduler.step();
  scheduler.cancel(second);
  scheduler.cancel(first);
  scheduler.cancel(12345);
  while (scheduler.step()) {
  }
  ASSERT_EQ(live.recorder->done.size(), 2u);
  EXPECT_EQ(live.recorder->done.at(0).reason, FinishReason::kInterrupted);
  EXPECT_GT(live.recorder->done.at(0).tokens.size(), 1u);
  ASSERT_EQ(waiting.recorder->done.size(), 4u);
  EXPECT_EQ(waiting.recorder->done.at(3).reason, FinishReason::kInterrupted);
  EXPECT_TRUE(waiting.recorder->done.at(3).tokens.empty());
  EXPECT_EQ(other.recorder->done.at(0).reason, FinishReason::kLength);
  EXPECT_EQ(decoder.bytes(), 0);
}

TEST(Scheduler, AFullSinkCancelsItsRequestAlone) {
  FakeExecutor executor = hashed_executor();
  CachedDecoder decoder(executor);
  Scheduler scheduler(decoder, {});
  const Asked full = ask({0, 1}, rules_of("[greedy]", 40)),
              other = ask({0, 2}, rules_of("[greedy]", 10));
  full.recorder->full_after = 3;
  scheduler.submit(copy_of(full.request));
  scheduler.submit(copy_of(other.request));
  while (scheduler.step()) {
  }
  EXPECT_EQ(full.recorder->done.at(0).reason, FinishReason::kInterrupted);
  EXPECT_EQ(full.recorder->done.at(0).tokens.size(), 3u);
  EXPECT_EQ(other.recorder->done.at(0).tokens.size(), 10u);
}

TEST(Scheduler, DeadlinesAndFaultsEndOneRequest) {
  FakeExecutor executor(kIds, 64, [](std::span<const TokenId> history) {
    std::vector<float> logits = hashed_logits(kIds)(history);
    if (history[1] == 9 && history.size() == 5) logits[3] = NAN;
    return logits;
  });
  CachedDecoder decoder(executor);
  Scheduler scheduler(decoder, {});
  const Asked faulty = ask({0, 9}, rules_of("[greedy]", 20)),
              other = ask({0, 2}, rules_of("[greedy]", 20));
  Asked late = ask({0, 3}, rules_of("[greedy]", 20));
  late.request.deadline = 0;
  for (const Request* one : {&faulty.request, &std::as_const(late).request, &other.request})
    scheduler.submit(copy_of(*one));
  while (scheduler.step()) {
  }
  EXPECT_EQ(faulty.recorder->done.at(0).reason, FinishReason::kError);
  EXPECT_EQ(faulty.recorder->done.at(0).tokens.size(), 3u);
  EXPECT_EQ(late.recorder->done.at(0).reason, FinishReason::kTime);
  EXPECT_EQ(other.recorder->done.at(0).tokens.size(), 20u);
}

TEST(Scheduler, RequestsComeFromManyThreads) {
  const Completions expected = apart();
  FakeExecutor executor = hashed_executor();
  const int64_t adapter = executor.add_adapter({});
  CachedDecoder decoder(executor);
  Scheduler scheduler(decoder, {.max_batch = 7, .prefill_chunk = 4});
  constexpr int kThreads = 4, kRounds = 5;
  std::vector<std::vector<Asked>> asked(kThreads * kRounds);
  std::atomic<int> coming{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        auto& own = asked[static_cast<size_t>(t * kRounds + round)];
        own = mixed_requests(adapter);
        for (const Asked& one : own) scheduler.submit(copy_of(one.request));
        scheduler.cancel(scheduler.submit(copy_of(ask({0, 1}, rules_of("[greedy]", 50)).request)));
        std::this_thread::yield();
      }
      --coming;
    });
  }
  while (scheduler.step() || coming > 0) {
  }
  for (std::thread& thread : threads) thread.join();
  while (scheduler.step()) {
  }
  for (const auto& own : asked) EXPECT_EQ(completions_of(own), expected);
  EXPECT_EQ(decoder.bytes(), 0);
}

TEST(Scheduler, RequestsThatCannotBeAreErrors) {
  FakeExecutor executor(8, 64, hashed_logits(8));
  CachedDecoder decoder(executor);
  Scheduler scheduler(decoder, {});
  expect_error([&] { scheduler.submit(copy_of(ask({}, rules_of("[greedy]", 1)).request)); },
               {"needs a prompt"});
  expect_error([&] { scheduler.submit(copy_of(ask({0}, rules_of("[greedy]", 1)).request)); },
               {"8 logits", "30 tokens"});
  EXPECT_FALSE(scheduler.step());
}

}  // namespace
}  // namespace continuo::test
