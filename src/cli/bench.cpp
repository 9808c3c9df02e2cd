// `continuo bench`: speed and memory of the real training step and the real generator, one JSON line per measurement.
#include <fstream>
#include <numeric>

#include <ATen/Parallel.h>
#include <ATen/ops/randint.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/experiment.h"
#include "cli/model_directory.h"
#include "core/process.h"
#include "generate/generator.h"
#include "train/batch_loss.h"
#include "train/optimizer.h"

namespace continuo {

using nlohmann::json;

namespace {

double peak_gb() { return peak_memory_bytes() / 1e9; }

struct BenchConfig {
  std::string device = "auto";
  int64_t threads = 0;
  ComputeType dtype = ComputeType::kFloat32;
  std::string weights = "auto";
  bool recompute = false;
  int64_t rows = 8;
  int64_t prompt_tokens = 64;
  int64_t completion_tokens = 144;
  std::string lengths;
  int64_t micro_tokens = 1 << 20;
  int64_t steps = 8;
  int64_t warmup = 2;
  int64_t new_tokens = 128;
  std::vector<int64_t> batches = {1, 8};
  int64_t prefill = 512;
  int64_t repeats = 3;
  ModelConfig model;
  int64_t vocabulary = 49152;
};

void fields(FieldVisitor& v, BenchConfig& c) {
  v.field("device", c.device, "auto, cpu, cuda or cuda:<index>.");
  v.field("threads", c.threads, "CPU threads, 0 = all cores.", Range::at_least(0));
  v.field("dtype", c.dtype, "fp32 or bf16.");
  v.field("weights", c.weights, "generate: auto (as dtype), fp32, bf16, q8 or q4.");
  v.field("recompute", c.recompute, "train: recompute activations.");
  v.field("rows", c.rows, "train: rows of a step.", Range::at_least(1));
  v.field("prompt_tokens", c.prompt_tokens, "train: prompt length; generate: prompt of the decode runs is 16.",
          Range::at_least(1));
  v.field("completion_tokens", c.completion_tokens, "train: trained tokens of a row.", Range::at_least(1));
  v.field("lengths", c.lengths, "train: file of '<prompt> <completion>' lengths, one row a line, instead of the two above.");
  v.field("micro_tokens", c.micro_tokens, "train: token budget of one forward/backward.", Range::at_least(1));
  v.field("steps", c.steps, "train: measured steps.", Range::at_least(1));
  v.field("warmup", c.warmup, "train: steps before them.", Range::at_least(0));
  v.field("new_tokens", c.new_tokens, "generate: decoded tokens.", Range::at_least(1));
  v.field("batches", c.batches, "generate: sequences decoded together.");
  v.field("prefill", c.prefill, "generate: prompt length of the prefill run.", Range::at_least(1));
  v.field("repeats", c.repeats, "generate: runs; the best one counts.", Range::at_least(1));
  v.section("model", c.model, "Shape of a random model, when no directory is given.");
  v.field("vocabulary", c.vocabulary, "Vocabulary of a random model.", Range::at_least(2));
}

// SmolLM2-135M's shape.
BenchConfig default_bench() {
  BenchConfig c;
  c.model.layers = 30;
  c.model.hidden = 576;
  c.model.heads = 9;
  c.model.kv_heads = 3;
  c.model.intermediate = 1536;
  c.model.context = 8192;
  c.model.rope_theta = 100000;
  return c;
}

struct Length {
  int64_t prompt, completion;
};

std::vector<Length> row_lengths(const BenchConfig& c) {
  const auto wanted = static_cast<size_t>(c.rows * (c.steps + c.warmup));
  std::vector<Length> lengths;
  if (c.lengths.empty()) return {wanted, {c.prompt_tokens, c.completion_tokens}};
  std::ifstream file(c.lengths);
  for (Length l{}; file >> l.prompt >> l.completion;) lengths.push_back(l);
  if (lengths.size() < wanted) {
    throw Error(fmt::format("{}: {} rows are needed, {} are there", c.lengths, wanted, lengths.size()));
  }
  return lengths;
}

// Documents of the given lengths with random ids, cut as training cuts them.
std::vector<Batch> random_step(std::span<const Length> rows, int64_t vocabulary, int64_t micro_tokens) {
  std::vector<Batch> batches;
  std::vector<std::vector<TokenId>> ids;
  std::vector<std::vector<uint8_t>> masks;
  std::vector<ExampleView> views;
  int64_t tokens = 0;
  const auto flush = [&] {
    if (ids.empty()) return;
    for (size_t i = 0; i < ids.size(); ++i) views.push_back({ids[i], masks[i]});
    std::vector<int64_t> numbers(ids.size());
    std::iota(numbers.begin(), numbers.end(), 0);
    batches.push_back(make_batch(views, numbers));
    ids.clear();
    masks.clear();
    views.clear();
    tokens = 0;
  };
  for (const Length& l : rows) {
    const int64_t n = l.prompt + l.completion;
    if (tokens + n > micro_tokens) flush();
    const at::Tensor random = at::randint(vocabulary, {n}, at::TensorOptions(at::kInt));
    ids.emplace_back(random.const_data_ptr<int>(), random.const_data_ptr<int>() + n);
    masks.emplace_back(n, uint8_t{1});
    std::fill_n(masks.back().begin(), l.prompt, uint8_t{0});
    tokens += n;
  }
  flush();
  return batches;
}

Model bench_model(const std::string& directory, const BenchConfig& c, c10::Device device, at::ScalarType dtype, bool train) {
  if (!directory.empty()) {
    return load_model(resolve_model_directory(directory),
                      {.device = device, .dtype = train ? at::kFloat : dtype, .map = !train});
  }
  Model model = make_model(c.model, c.vocabulary, device);
  if (!train && dtype != at::kFloat) {
    for (at::Tensor& parameter : model.decoder->parameters()) {
      if (parameter.dim() >= 2) parameter.set_data(parameter.detach().to(dtype));
    }
  }
  return model;
}

void bench_train(const std::string& directory, const BenchConfig& c) {
  const int64_t threads = set_threads(c.threads);
  const c10::Device device = parse_device(c.device);
  const at::ScalarType dtype = usable_dtype(scalar_type(c.dtype), device);
  const Model model = bench_model(directory, c, device, dtype, true);
  Decoder& decoder = *model.decoder;
  decoder.set_compute({.dtype = dtype, .recompute = c.recompute});
  NamedParameters parameters;
  for (const auto& item : decoder.named_parameters()) parameters.emplace_back(item.key(), item.value());
  AdamW optimizer(parameters, {.weight_decay = 0});
  const std::vector<Length> lengths = row_lengths(c);
  std::vector<double> seconds;
  int64_t tokens = 0, trained = 0;
  double loss_sum = 0, norm = 0;
  for (int64_t s = 0; s < c.warmup + c.steps; ++s) {
    const auto rows = std::span(lengths).subspan(s * c.rows, c.rows);
    const std::vector<Batch> batches = random_step(rows, decoder.shape().vocabulary, c.micro_tokens);
    int64_t count = 0;
    for (const Batch& b : batches) count += b.trained_count;
    const double start = seconds_now();
    loss_sum = 0;
    for (const Batch& b : batches) {
      const LossResult loss = batch_loss(decoder, b, 1.0 / static_cast<double>(count), {});
      loss.sum.backward();
      loss_sum += loss.sum.item<double>();
    }
    norm = optimizer.step(1e-5);
    if (s < c.warmup) continue;
    seconds.push_back(seconds_now() - start);
    for (const Length& l : rows) tokens += l.prompt + l.completion;
    trained += count;
  }
  const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  fmt::print("{}\n", json({{"system", "continuo"},
                           {"what", "train"},
                           {"dtype", dtype == at::kBFloat16 ? "bf16" : "fp32"},
                           {"device", device.str()},
                           {"threads", threads},
                           {"steps", c.steps},
                           {"rows", c.rows},
                           {"real_tokens_per_s", static_cast<double>(tokens) / total},
                           {"trained_tokens_per_s", static_cast<double>(trained) / total},
                           {"step_seconds", seconds},
                           {"peak_rss_gb", peak_gb()},
                           {"loss", loss_sum},
                           {"grad_norm", norm}})
                         .dump());
}

// The best of several runs of the generator, greedy, without an end.
GenerationTimings best_generation(Decoder& decoder, const BenchConfig& c, int64_t batch, int64_t prompt, int64_t new_tokens) {
  GenerationConfig config;
  config.max_new_tokens = new_tokens;
  config.ignore_eos = true;
  config.max_batch = batch;
  config.sampler = parse_yaml("[{top_k: 50}, {top_p: 0.9}]", "bench");
  Vocabulary vocabulary;
  vocabulary.size = decoder.shape().vocabulary;
  vocabulary.token_bytes = [](TokenId) { return std::string(); };
  vocabulary.special_text = vocabulary.token_bytes;
  vocabulary.encode = [](std::string_view) { return std::vector<TokenId>(); };
  Generator generator(decoder, vocabulary, config);
  std::vector<TokenId> ids(prompt);
  for (int64_t i = 0; i < prompt; ++i) ids[i] = static_cast<TokenId>((i * 7919 + 13) % vocabulary.size);
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

void bench_generate(const std::string& directory, const BenchConfig& c) {
  const int64_t threads = set_threads(c.threads);
  const c10::Device device = parse_device(c.device);
  const at::ScalarType dtype = usable_dtype(scalar_type(c.dtype), device);
  const Model model = bench_model(directory, c, device, dtype, false);
  model.decoder->set_compute({.dtype = dtype, .weights = weight_format(c.weights)});
  const json common = {{"system", "continuo"}, {"dtype", dtype == at::kBFloat16 ? "bf16" : "fp32"},
                       {"weights", c.weights},
                       {"device", device.str()}, {"threads", threads}};
  const auto print = [&](json line) {
    line.update(common);
    line["peak_rss_gb"] = peak_gb();
    fmt::print("{}\n", line.dump());
  };
  const GenerationTimings p = best_generation(*model.decoder, c, 1, c.prefill, 1);
  print({{"what", "prefill"}, {"prompt_tokens", c.prefill},
         {"tokens_per_s", static_cast<double>(c.prefill) / p.prefill_seconds}});
  for (const int64_t batch : c.batches) {
    const GenerationTimings t = best_generation(*model.decoder, c, batch, 16, c.new_tokens);
    const double seconds = t.prefill_seconds + t.decode_seconds + t.sampling_seconds;
    print({{"what", "decode"}, {"batch", batch}, {"new_tokens", c.new_tokens},
           {"tokens_per_s", static_cast<double>(t.decoded_tokens) / seconds},
           {"sampling_share", t.sampling_seconds / seconds},
           {"first_token_s", t.first_token_seconds}});
  }
}

}  // namespace

void add_bench_command(CLI::App& app) {
  struct Arguments {
    std::string directory;
    std::vector<std::string> overrides;
  };
  CLI::App* bench = app.add_subcommand("bench", "Measure training and generation; one JSON line per measurement");
  bench->require_subcommand(1);
  const auto add = [&](const std::string& name, const std::string& help, void (*run)(const std::string&, const BenchConfig&)) {
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = bench->add_subcommand(name, help);
    command->add_option("--model", arguments->directory, "Model directory; default: random weights of SmolLM2-135M's shape");
    command->add_option("overrides", arguments->overrides, "key=value settings");
    command->footer("Keys:\n" + config_help(default_bench()));
    command->callback([arguments, run] {
      ConfigNode root;
      for (const std::string& assignment : arguments->overrides) apply_override(root, assignment);
      BenchConfig config = default_bench();
      Problems problems;
      load_config(root, config, problems);
      validate(config.model, root, "model", problems);
      problems.raise();
      run(arguments->directory, config);
    });
  };
  add("train", "Forward, backward and optimizer on documents of random ids", bench_train);
  add("generate", "Prefill and decode", bench_generate);
  add_bench_tokenize_command(*bench);
}

}  // namespace continuo
