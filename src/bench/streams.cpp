// `continuo bench streams`: what live sequences notice of a long prompt that arrives beside them,
// and what the prompt loses by their company.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "bench/bench.h"
#include "bench/commands.h"
#include "core/config/keys.h"
#include "core/process.h"
#include "generate/generation_config.h"
#include "generate/scheduler.h"

namespace continuo {
namespace {

using nlohmann::json;

struct StreamsBenchConfig {
  BenchModelConfig base;
  ComputeConfig compute;
  int64_t streams = 8;
  int64_t prompt = 2000;
  int64_t steps = 60;
  int64_t rounds = 5;
  double slowdown = 2.7;
  int64_t prefill_chunk = 512;
};

void fields(FieldVisitor& v, StreamsBenchConfig& c) {
  fields(v, c.compute);
  fields(v, c.base);
  v.field("streams", c.streams, "Live sequences.", Range::at_least(1));
  v.field("prompt", c.prompt, "Tokens of the prompt that arrives.", Range::at_least(2));
  v.field("steps", c.steps, "Undisturbed tokens of every stream before it.", Range::at_least(2));
  v.field("rounds", c.rounds, "So often alone, together and alone again.", Range::at_least(1));
  v.field("slowdown", c.slowdown, "So many times as long may a pass take with a slice of it.",
          Range::at_least(1));
  v.field("prefill_chunk", c.prefill_chunk, "Prompt tokens of a pass at most.", Range::at_least(1));
}

struct FirstToken : Sink {
  bool token(const Completion&, std::string_view) noexcept override { return came = true; }
  void finished(Completion&&) noexcept override {}
  bool came = false;
};

// Seconds between the tokens of the live sequences without the prompt and beside it, and those that
// the prompt took.
struct Round {
  std::vector<double> undisturbed, disturbed;
  double prompt = 0;
};

// What was seen in all rounds: all gaps; and of every round how many times its undisturbed gap the
// 99th percentile was, and the part of its rate alone that the prompt had in company.
struct Seen {
  std::vector<double> undisturbed, disturbed, ratios, shares;

  void add(const Round& round, double alone) {
    undisturbed.insert(undisturbed.end(), round.undisturbed.begin(), round.undisturbed.end());
    disturbed.insert(disturbed.end(), round.disturbed.begin(), round.disturbed.end());
    ratios.push_back(quantile(round.disturbed, 0.99) / median(round.undisturbed));
    shares.push_back(alone / round.prompt);
  }
};

class StreamsBench {
 public:
  StreamsBench(Executor& executor, const StreamsBenchConfig& c) : config_(c), decoder_(executor) {
    auto rules = std::make_shared<SequenceRules>();
    rules->vocabulary =
        std::make_shared<const Vocabulary>(plain_vocabulary(executor.spec().embedding.vocabulary));
    rules->chain = SamplerChain(resolve_chain(GenerationConfig{}), *rules->vocabulary);
    rules->stops = std::make_shared<StopStrings>(std::vector<std::string>{});
    rules->max_new_tokens = executor.spec().context;
    rules->context = executor.spec().context;
    rules->ignore_eos = true;
    rules_ = std::move(rules);
  }

  // Seconds to the first token of the prompt by itself.
  double alone() {
    Scheduler scheduler(decoder_, {.prefill_chunk = config_.prefill_chunk});
    const double start = seconds_now();
    const auto sink = ask(scheduler, config_.prompt, 1000);
    while (!sink->came) scheduler.step();
    const double seconds = seconds_now() - start;
    scheduler.finish_all(FinishReason::kInterrupted);
    return seconds;
  }

  // The prompt beside the streams.
  Round together() {
    Round round;
    Scheduler scheduler(decoder_, {.max_batch = config_.streams + 1,
                                   .prefill_chunk = config_.prefill_chunk,
                                   .slowdown = config_.slowdown});
    for (int64_t i = 0; i < config_.streams; ++i) {
      const auto sink = ask(scheduler, 16, i);
      while (!sink->came) scheduler.step();
    }
    const auto gap = [&] {
      const double start = seconds_now();
      scheduler.step();
      return seconds_now() - start;
    };
    for (int64_t i = 0; i < config_.steps; ++i) round.undisturbed.push_back(gap());
    const auto sink = ask(scheduler, config_.prompt, 1000);
    while (!sink->came) {
      round.disturbed.push_back(gap());
      round.prompt += round.disturbed.back();
    }
    scheduler.finish_all(FinishReason::kInterrupted);
    return round;
  }

 private:
  std::shared_ptr<FirstToken> ask(Scheduler& scheduler, int64_t length, int64_t salt) {
    Request request;
    for (int64_t i = 0; i < length; ++i) {
      request.prompt.push_back(
          static_cast<TokenId>((i * 7919 + 13 + 101 * salt) % rules_->vocabulary->size));
    }
    const auto sink = std::make_shared<FirstToken>();
    request.rules = rules_;
    request.key = static_cast<uint64_t>(salt);
    request.sink = sink;
    scheduler.submit(std::move(request));
    return sink;
  }

  const StreamsBenchConfig& config_;
  CachedDecoder decoder_;
  std::shared_ptr<const SequenceRules> rules_;
};

// A machine's speed changes from second to second: the prompt is timed alone before and after each
// time that it has company, and quotients are of what was measured in the same seconds.
void bench_streams(const std::string& directory, const StreamsBenchConfig& c) {
  const Compute compute = start_compute(c.compute);
  const Model model = open_bench_model(directory, c.base, compute, BenchUse::kServed);
  const std::unique_ptr<Executor> executor = make_executor(model.decoder, compute.executor);
  StreamsBench bench(*executor, c);
  bench.alone();  // warms up
  Seen seen;
  std::vector<double> alone = {bench.alone()};
  for (int64_t i = 0; i < c.rounds; ++i) {
    const Round round = bench.together();
    alone.push_back(bench.alone());
    seen.add(round, (alone[i] + alone[i + 1]) / 2);
  }
  const auto range = [](const std::vector<double>& values) {
    const auto [lowest, highest] = std::ranges::minmax(values);
    return json{lowest, highest};
  };
  print_bench_line({{"what", "streams"},
                    {"streams", c.streams},
                    {"prompt", c.prompt},
                    {"rounds", c.rounds},
                    {"slowdown", c.slowdown},
                    {"undisturbed_gap_ms", 1e3 * median(seen.undisturbed)},
                    {"undisturbed_gap_p99_ms", 1e3 * quantile(seen.undisturbed, 0.99)},
                    {"gap_ms", 1e3 * median(seen.disturbed)},
                    {"gap_p99_ms", 1e3 * quantile(seen.disturbed, 0.99)},
                    {"gap_p99_ratio", median(seen.ratios)},
                    {"gap_p99_ratio_range", range(seen.ratios)},
                    {"passes", seen.disturbed.size()},
                    {"prompt_alone_tokens_per_s", static_cast<double>(c.prompt) / median(alone)},
                    {"prompt_share", median(seen.shares)},
                    {"prompt_share_range", range(seen.shares)},
                    {"weights", enum_name(c.compute.weights)},
                    {"kv_cache", enum_name(c.compute.kv_cache)}},
                   compute);
}

}  // namespace

void add_bench_streams_command(CLI::App& bench) {
  add_bench_model_command(bench, "streams", "Live sequences while a long prompt arrives",
                          bench_streams);
}

}  // namespace continuo
