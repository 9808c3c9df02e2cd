// `continuo bench sample`: what drawing one token costs, whole and stage by stage, on made-up
// logits; JSON lines.
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/compute_config.h"
#include "bench/bench.h"
#include "bench/commands.h"
#include "core/config/config.h"
#include "core/process.h"
#include "core/random.h"
#include "generate/sampling/draw.h"
#include "generate/sequence.h"

namespace continuo {
namespace {

using nlohmann::json;

// Chains that people use, beside those that cannot truncate before they look at every token.
struct SampleChain {
  const char* name;
  const char* yaml;
};
constexpr SampleChain kSampleChains[] = {
    {"full",
     "[{repetition: 1.1}, {frequency: 0.1}, {presence: 0.1}, dry, {top_n_sigma: 2}, {top_k: 50}, "
     "{typical: 0.95}, "
     "{top_p: 0.9}, {min_p: 0.02}, {xtc: 0.5}, {temperature: 0.8}]"},
    {"default", "[{min_p: 0.05}, {temperature: 0.7}]"},
    {"top_k+top_p", "[{top_k: 50}, {top_p: 0.9}]"},
    {"penalised",
     "[{repetition: {penalty: 1.1, form: raw}}, {top_k: 50}, {top_p: 0.9}, {temperature: 0.8}]"},
    {"top_p", "[{top_p: 0.9}]"},
    {"typical", "[{typical: 0.9}]"},
    {"temperature", "[{temperature: 0.8}]"},
    {"greedy", "[greedy]"},
};

struct SampleBenchConfig {
  int64_t vocabulary = 49152;
  int64_t history = 512;
  int64_t batch = 1;
  int64_t threads = 1;
  int64_t tokens = 200;
  double spread = 2.5;
  double head = 0.95;
  double step_us = 0;
  ConfigNode chain;
};

void fields(FieldVisitor& v, SampleBenchConfig& c) {
  v.field("vocabulary", c.vocabulary, "Logits of a row.", Range::between(2, 1 << 24));
  v.field("history", c.history, "Tokens before the one that is drawn.", Range::between(1, 1 << 20));
  v.field("batch", c.batch, "Sequences that draw together.", Range::between(1, 4096));
  v.field("threads", c.threads, "Threads that share them, 0 = all cores.", Range::between(0, 1024));
  v.field("tokens", c.tokens, "Measured draws of every sequence; the median counts.",
          Range::between(1, 1000000));
  v.field("spread", c.spread, "Standard deviation of the logits.", Range::between(0, 100));
  v.field("head", c.head, "Probability that eight tokens share; the others share the rest.",
          Range::between(0, 0.999));
  v.field("step_us", c.step_us,
          "Microseconds of a decode step, to compare with; 0 leaves the share out.",
          Range::at_least(0));
  v.field("chain", c.chain, "Stages of the chain; default: several chains, one line each.");
}

// Gaussian, with a head of eight tokens that share most of the mass, as after training; each has
// half of what the one before it has.
std::vector<float> made_up_logits(const SampleBenchConfig& c, uint64_t row) {
  const Random random(11, "bench sample");
  std::vector<float> logits(static_cast<size_t>(c.vocabulary));
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(c.spread * random.normal(row, i));
  const double body =
      std::log(static_cast<double>(c.vocabulary)) + c.spread * c.spread / 2;  // log Σ e^logit
  for (uint64_t k = 0; k < 8 && c.head > 0; ++k) {
    const uint64_t id =
        random.below(static_cast<uint64_t>(c.vocabulary), row, uint64_t{1} << 32 | k);
    logits[id] = static_cast<float>(body + std::log(c.head / (1 - c.head)) -
                                    static_cast<double>(k + 1) * std::log(2.0));
  }
  return logits;
}

// Text that repeats itself a little: a few frequent tokens, many rare ones.
std::vector<TokenId> made_up_history(const SampleBenchConfig& c, uint64_t sequence) {
  const Random random(12, "bench sample");
  std::vector<TokenId> ids(static_cast<size_t>(c.history));
  for (size_t i = 0; i < ids.size(); ++i) {
    const double u = random.uniform(sequence, i);
    ids[i] = static_cast<TokenId>(
        std::min(static_cast<double>(c.vocabulary - 1), std::floor(c.vocabulary * u * u * u)));
  }
  return ids;
}

// Rows and histories that every chain draws from.
struct SampleData {
  std::vector<std::vector<float>> rows;
  std::vector<std::vector<TokenId>> histories;
};

SampleData made_up_data(const SampleBenchConfig& c) {
  SampleData data;
  for (int64_t i = 0; i < c.batch; ++i) {
    data.rows.push_back(made_up_logits(c, static_cast<uint64_t>(i)));
    data.histories.push_back(made_up_history(c, static_cast<uint64_t>(i)));
  }
  return data;
}

// Seconds that all sequences take to draw and take in a token, as the generator does it.
double draw_seconds(const SampleBenchConfig& c, const SampleData& data, const SamplerChain& chain) {
  auto rules = std::make_shared<SequenceRules>();
  rules->vocabulary = std::make_shared<const Vocabulary>(plain_vocabulary(c.vocabulary));
  rules->max_new_tokens = rules->context = INT64_MAX;
  rules->ignore_eos = true;
  rules->chain = chain.clone();
  rules->stops = std::make_shared<StopStrings>(std::vector<std::string>{"\n\n"});
  std::vector<Sequence> sequences;
  for (size_t i = 0; i < data.rows.size(); ++i)
    sequences.emplace_back(rules, data.histories[i], Noise(0, i, 0));
  std::vector<Candidates> scratch(sequences.size());
  std::vector<double> seconds;
  for (int64_t token = -10; token < c.tokens; ++token) {
    const double start = seconds_now();
    at::parallel_for(0, c.batch, 1, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) sequences[i].sample(whole_row(data.rows[i]), scratch[i]);
    });
    for (Sequence& sequence : sequences) sequence.accept();
    if (token >= 0) seconds.push_back(seconds_now() - start);
  }
  return median(seconds);
}

// Microseconds of reading the row, of every stage, and of the draw, on one thread.
json stage_microseconds(const SampleBenchConfig& c, const SampleData& data,
                        const std::vector<WrittenStage>& stages) {
  const Vocabulary vocabulary = plain_vocabulary(c.vocabulary);
  std::vector<SamplerChain> chains;
  for (const WrittenStage& stage : stages) chains.emplace_back(std::vector{stage}, vocabulary);
  std::vector<std::vector<double>> seconds(stages.size() + 3);
  Candidates row;
  const Noise noise(0, 0, 0);
  std::vector<TokenId> history = data.histories[0];
  for (int64_t token = -10; token < c.tokens; ++token) {
    const StageContext context{history, 0, vocabulary, noise};
    double before = seconds_now();
    size_t part = 0;
    const auto lap = [&] {
      const double now = seconds_now();
      if (token >= 0) seconds[part].push_back(now - before);
      ++part;
      before = seconds_now();
    };
    row.reset(data.rows[0]);
    lap();
    for (SamplerChain& chain : chains) {
      chain.apply(row, context);
      lap();
    }
    const Drawn drawn = draw(row, noise, context.position());
    lap();
    row.raw_log_sum();
    lap();
    history.push_back(drawn.id);
  }
  json parts = json::object();
  parts["read"] = median(seconds.front()) * 1e6;
  for (size_t i = 0; i < stages.size(); ++i)
    parts[std::string(stages[i].spec->name)] = median(seconds[i + 1]) * 1e6;
  parts["draw"] = median(seconds[stages.size() + 1]) * 1e6;
  parts["logprob"] = median(seconds.back()) * 1e6;
  return parts;
}

void bench_chain(const SampleBenchConfig& c, const SampleData& data, int64_t threads,
                 const std::string& name, const ConfigNode& yaml) {
  Problems problems;
  const std::vector<WrittenStage> stages = read_chain(yaml, problems);
  problems.raise();
  const SamplerChain chain(stages, plain_vocabulary(c.vocabulary));
  const double microseconds = draw_seconds(c, data, chain) * 1e6;
  json line = {{"system", "continuo"},
               {"what", "sample"},
               {"chain", name},
               {"vocabulary", c.vocabulary},
               {"history", c.history},
               {"batch", c.batch},
               {"threads", threads},
               {"us_per_step", microseconds},
               {"us_per_token", microseconds / static_cast<double>(c.batch)},
               {"stages_us", stage_microseconds(c, data, stages)}};
  if (c.step_us > 0) line["share_of_step"] = microseconds / c.step_us;
  fmt::print("{}\n", line.dump());
}

void bench_sample(const SampleBenchConfig& c) {
  const int64_t threads = set_threads(c.threads);
  const SampleData data = made_up_data(c);
  if (c.chain.kind != ConfigNode::Kind::kNull)
    return bench_chain(c, data, threads, "given", c.chain);
  for (const SampleChain& chain : kSampleChains) {
    bench_chain(c, data, threads, chain.name, parse_yaml(chain.yaml, chain.name));
  }
}

}  // namespace

void add_bench_sample_command(CLI::App& bench) {
  auto overrides = std::make_shared<std::vector<std::string>>();
  CLI::App* command = bench.add_subcommand("sample", "Draw tokens from made-up logits");
  command->add_option("overrides", *overrides, "key=value settings");
  command->footer([] { return "Keys:\n" + config_help<SampleBenchConfig>(); });
  command->callback([overrides] {
    ConfigNode root;
    for (const std::string& assignment : *overrides) apply_override(root, assignment);
    SampleBenchConfig config;
    Problems problems;
    load_config(root, config, problems);
    problems.raise();
    bench_sample(config);
  });
}

}  // namespace continuo
