// `continuo bench generate`: prefill and decoding by the real generator.
#include <nlohmann/json.hpp>

#include "bench/bench.h"
#include "bench/commands.h"
#include "bench/roofline.h"
#include "core/config/keys.h"
#include "core/process.h"
#include "generate/generator.h"

namespace continuo {
namespace {

using nlohmann::json;

struct GenerateBenchConfig {
  BenchModelConfig base;
  ComputeConfig compute;
  int64_t new_tokens = 128;
  std::vector<int64_t> batches = {1, 8};
  int64_t prefill = 512;
  int64_t repeats = 3;
  bool roof = true;
  ConfigNode sampler = parse_yaml("[{top_k: 50}, {top_p: 0.9}]", "bench");
};

void fields(FieldVisitor& v, GenerateBenchConfig& c) {
  fields(v, c.compute);
  fields(v, c.base);
  v.field("new_tokens", c.new_tokens, "Decoded tokens, after a prompt of 16.", Range::at_least(2));
  v.field("batches", c.batches, "Sequences decoded together.");
  v.field("prefill", c.prefill, "Prompt length of the prefill run.", Range::at_least(1));
  v.field("repeats", c.repeats, "Runs; the best one counts.", Range::at_least(1));
  v.field("roof", c.roof, "Measure the memory's roof too, after the runs (CPU).");
  v.field("sampler", c.sampler, "Stages of the sampling chain.");
}

// Runs the generator several times, past any end of sequence, and keeps the fastest run.
GenerationTimings best_generation(Executor& executor, const GenerateBenchConfig& c, int64_t batch,
                                  int64_t prompt, int64_t new_tokens) {
  GenerationConfig config;
  config.max_new_tokens = new_tokens;
  config.ignore_eos = true;
  config.max_batch = batch;
  config.sampler = c.sampler;
  const Vocabulary vocabulary = plain_vocabulary(executor.spec().embedding.vocabulary);
  Generator generator(executor, vocabulary, config);
  std::vector<TokenId> ids(prompt);
  for (int64_t i = 0; i < prompt; ++i)
    ids[i] = static_cast<TokenId>((i * 7919 + 13) % vocabulary.size);
  const std::vector<std::vector<TokenId>> prompts(batch, ids);
  GenerationTimings best;
  double best_seconds = 0;
  for (int64_t r = 0; r < c.repeats; ++r) {
    const double start = seconds_now();
    const GenerationTimings t = generator.generate(prompts).timings;
    const double seconds = seconds_now() - start;
    if (r == 0 || seconds < best_seconds) best = t, best_seconds = seconds;
  }
  return best;
}

void bench_generate(const std::string& directory, const GenerateBenchConfig& c) {
  const Compute compute = start_compute(c.compute);
  const Model model = open_bench_model(directory, c.base, compute, BenchUse::kServed);
  const std::unique_ptr<Executor> executor = make_executor(model.decoder, compute.executor);
  const GenerationTimings p = best_generation(*executor, c, 1, c.prefill, 1);
  std::vector<json> lines = {{{"what", "prefill"},
                              {"prompt_tokens", c.prefill},
                              {"tokens_per_s", static_cast<double>(c.prefill) / p.prefill_seconds},
                              {"peak_rss_gb", peak_memory_bytes() / 1e9}}};
  const auto weights = static_cast<double>(executor->weight_bytes());
  const std::vector<LayerCache> layout =
      cache_layout(executor->spec(), cache_format(executor->options()));
  constexpr int64_t kPrompt = 16;
  for (const int64_t batch : c.batches) {
    const GenerationTimings t = best_generation(*executor, c, batch, kPrompt, c.new_tokens);
    // The first token comes from the prefill.
    const double steps = static_cast<double>(c.new_tokens - 1);
    // In the mean over the steps, which hold `kPrompt` + 1 … `kPrompt` + `new_tokens` − 1 tokens.
    const double length = kPrompt + static_cast<double>(c.new_tokens) / 2;
    const double read = weights + static_cast<double>(batch) * cache_bytes(layout, length);
    const double decode = t.decode_seconds + t.sampling_seconds, all = t.prefill_seconds + decode;
    lines.push_back({{"what", "decode"},
                     {"batch", batch},
                     {"new_tokens", c.new_tokens},
                     {"tokens_per_s", static_cast<double>(t.decoded_tokens) / all},
                     {"decode_tokens_per_s", steps * static_cast<double>(batch) / decode},
                     {"sampling_share", t.sampling_seconds / all},
                     {"first_token_s", t.first_token_seconds},
                     {"step_mb", read / 1e6},
                     {"read_gb_per_s", steps * read / t.decode_seconds / 1e9},
                     {"peak_rss_gb", peak_memory_bytes() / 1e9}});
  }
  const double roof = c.roof && compute.device.is_cpu() ? read_roof() / 1e9 : 0;
  for (json& line : lines) {
    line["weights"] = enum_name(c.compute.weights);
    line["kv_cache"] = enum_name(c.compute.kv_cache);
    if (roof > 0 && line.contains("read_gb_per_s")) {
      line["roof_gb_per_s"] = roof;
      line["roof_share"] = line["read_gb_per_s"].get<double>() / roof;
    }
    print_bench_line(std::move(line), compute);
  }
}

}  // namespace

void add_bench_generate_command(CLI::App& bench) {
  add_bench_model_command(bench, "generate", "Prefill and decode", bench_generate);
}

}  // namespace continuo
