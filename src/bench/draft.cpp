// `continuo bench draft`: decoding with drafts beside plain decoding, on a real prompt of a real
// model; the two alternate.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "app/draft_choice.h"
#include "app/model_directory.h"
#include "app/prompt_source.h"
#include "app/settings.h"
#include "bench/bench.h"
#include "bench/commands.h"
#include "core/config/keys.h"
#include "core/files.h"
#include "core/process.h"
#include "generate/generator.h"

namespace continuo {
namespace {

using nlohmann::json;

struct DraftBenchConfig {
  BenchModelConfig base;
  ComputeConfig compute;
  std::string text;
  int64_t repeats = 3;
  GenerationConfig generation;

  DraftBenchConfig() { generation.draft = kDraftLookup; }
};

void fields(FieldVisitor& v, DraftBenchConfig& c) {
  fields(v, c.compute);
  fields(v, c.base);
  v.field(
      "text", c.text,
      "File with the prompt; the model's template is put around it. Empty: a story is asked for.");
  v.field("repeats", c.repeats, "Runs with and without drafts; medians count.", Range::at_least(1));
  v.section("generation", c.generation,
            "As in experiments; generation.draft says how drafts are made.");
}

struct Run {
  GenerationResult result;
  double rate;  // tokens/s after the first token
};

Run run_once(const ServedModel& served, const Vocabulary& vocabulary,
             const GenerationConfig& config, Drafter* drafter,
             std::span<const std::vector<TokenId>> prompts) {
  Run run{.result = Generator(*served.executor, vocabulary, config,
                              {.adapter = served.adapter, .drafter = drafter})
                        .generate(prompts),
          .rate = 0};
  const GenerationTimings& t = run.result.timings;
  const auto decoded =
      static_cast<double>(t.decoded_tokens - static_cast<int64_t>(run.result.completions.size()));
  run.rate = decoded / (t.decode_seconds + t.draft_seconds + t.sampling_seconds);
  return run;
}

bool same_tokens(const GenerationResult& a, const GenerationResult& b) {
  return std::ranges::equal(
      a.completions, b.completions, [](const Completion& x, const Completion& y) {
        return std::ranges::equal(x.tokens, y.tokens, {}, &GeneratedToken::id, &GeneratedToken::id);
      });
}

void bench_draft(const std::string& directory, const DraftBenchConfig& c) {
  if (directory.empty())
    throw Error::usage("drafts are measured on a trained model", "give --model DIR");
  const Compute compute = start_compute(c.compute);
  const auto [model, served] = open_served_model(directory, compute);
  const Vocabulary vocabulary = vocabulary_of(model.tokenizer, model.eos, model.tokenizer->size());
  const std::string text =
      c.text.empty() ? "Write a story about a lighthouse keeper." : read_file(c.text);
  const std::vector<std::vector<TokenId>> prompts{
      encode_input(PromptInput{text, {}}, *model.tokenizer, model.prompt, false)};

  GenerationConfig plain = c.generation;
  plain.draft = kDraftNone;
  std::vector<double> plain_rates, rates;
  GenerationTimings timings;
  bool same = true;
  run_once(served, vocabulary, plain, nullptr, prompts);  // warms up
  for (int64_t r = 0; r < c.repeats; ++r) {
    const Run expected = run_once(served, vocabulary, plain, nullptr, prompts);
    DraftChoice fresh;  // what it learnt stays in its run
    Drafter* drafter = fresh.drafter(model, compute.executor, vocabulary, c.generation);
    const Run drafted = run_once(served, vocabulary, c.generation, drafter, prompts);
    plain_rates.push_back(expected.rate);
    rates.push_back(drafted.rate);
    timings = drafted.result.timings;
    same = same && same_tokens(expected.result, drafted.result);
  }
  print_bench_line({{"what", "draft"},
                    {"draft", c.generation.draft},
                    {"weights", enum_name(c.compute.weights)},
                    {"sampler", to_json(parse_yaml(describe_chain(c.generation), "sampler"))},
                    {"prompt_tokens", prompts.front().size()},
                    {"tokens", timings.decoded_tokens},
                    {"plain_tokens_per_s", median(plain_rates)},
                    {"tokens_per_s", median(rates)},
                    {"ratio", median(rates) / median(plain_rates)},
                    {"drafted", timings.drafted_tokens},
                    {"accepted", timings.accepted_tokens},
                    {"passes", timings.passes},
                    {"same_tokens", same}},
                   compute);
}

}  // namespace

void add_bench_draft_command(CLI::App& bench) {
  add_bench_model_command(bench, "draft", "Decoding with drafts beside plain decoding",
                          bench_draft);
}

}  // namespace continuo
