// `continuo bench train`: optimizer steps as `continuo train` makes them, on rows of a file or on
// random ids.
#include <algorithm>
#include <fstream>
#include <numeric>

#include <nlohmann/json.hpp>

#include "app/adapters.h"
#include "app/frozen_base.h"
#include "app/model_directory.h"
#include "bench/bench.h"
#include "bench/commands.h"
#include "bench/random_step.h"
#include "bench/roofline.h"
#include "bench/rows.h"
#include "core/process.h"
#include "data/step_loader.h"
#include "train/optimizer.h"
#include "train/sft.h"
#include "train/step.h"

namespace continuo {
namespace {

// The optimizer's other settings are those of transformers, so that losses can be compared step by
// step.
struct TrainBenchConfig {
  BenchModelConfig base;
  DeviceConfig machine;
  ComputeType dtype = ComputeType::kFloat32;
  BenchRowsConfig data;
  LoraConfig lora;
  bool recompute = false;
  int64_t rows = 8;
  int64_t prompt_tokens = 64;
  int64_t completion_tokens = 144;
  std::string lengths;
  int64_t micro_tokens = 8192;
  int64_t steps = 8;
  int64_t warmup = 2;
  double lr = 1e-5;
  bool roof = true;
};

void fields(FieldVisitor& v, TrainBenchConfig& c) {
  fields(v, c.machine);
  v.field("dtype", c.dtype, "Products in fp32 or bf16, as `train.dtype`.");
  fields(v, c.base);
  fields(v, c.data);
  v.section("lora", c.lora, "Adapters, trained instead of the weights; dropout does not act.");
  v.field("recompute", c.recompute, "Recompute activations.");
  v.field("rows", c.rows, "Rows of a step.", Range::at_least(1));
  v.field("prompt_tokens", c.prompt_tokens, "Without data: prompt length of random rows.",
          Range::at_least(1));
  v.field("completion_tokens", c.completion_tokens, "Without data: their trained tokens.",
          Range::at_least(1));
  v.field("lengths", c.lengths,
          "File of '<prompt> <completion>' lengths, one row a line, instead of the two above.");
  v.field("micro_tokens", c.micro_tokens,
          "Token budget of one forward/backward; steps above it accumulate gradients.",
          Range::at_least(1));
  v.field("steps", c.steps, "Measured steps.", Range::at_least(1));
  v.field("warmup", c.warmup, "Steps before them.", Range::at_least(0));
  v.field("lr", c.lr, "Learning rate, constant.", Range::at_least(0));
  v.field("roof", c.roof, "Measure the products' roof too, after the steps (CPU).");
}

std::vector<RowLength> row_lengths(const TrainBenchConfig& c) {
  const auto wanted = static_cast<size_t>(c.rows * (c.steps + c.warmup));
  std::vector<RowLength> lengths;
  if (c.lengths.empty()) return {wanted, {c.prompt_tokens, c.completion_tokens}};
  std::ifstream file(c.lengths);
  for (RowLength l{}; file >> l.prompt >> l.completion;) lengths.push_back(l);
  if (lengths.size() < wanted) {
    throw Error(
        fmt::format("{}: {} rows are needed, {} are there", c.lengths, wanted, lengths.size()));
  }
  return lengths;
}

std::function<TrainingStep()> step_source(const std::string& directory, const TrainBenchConfig& c,
                                          int64_t vocabulary) {
  if (c.data.data.empty()) {
    return [&c, vocabulary, lengths = row_lengths(c), at = int64_t{0}]() mutable {
      return random_step(std::span(lengths).subspan(c.rows * at++, c.rows), vocabulary,
                         c.micro_tokens);
    };
  }
  if (directory.empty())
    throw Error("rows of a file need the tokenizer of a model", "Give it as --model.");
  const auto store =
      open_bench_rows(c.data, *load_model_tokenizer(resolve_model_directory(directory)));
  const BatchConfig batch = {.rows = c.rows, .micro_tokens = c.micro_tokens, .shuffle = false};
  return [loader = std::make_shared<StepLoader>(ExampleStream(store, {}, batch))] {
    return loader->next();
  };
}

// FLOP that a step needs: what is computed twice (scores of attention, recompute) counts once,
// passes over elements do not count. With P, A and H the parameters of the blocks' matrices, of
// adapters and of the head, they are
//   tokens · 6·P     products of the blocks, 2 forward and 4 backward
//   trained · 6·H    the head, at supervised tokens only
//   Σ over documents of layers · heads · 6·n·(n+1) · dim
//                    causal attention over n tokens: two products of n·(n+1)/2 scores, 4·dim FLOP a
//                    score forward and 8·dim backward
// Below adapters frozen matrices have no gradient of their own: 4·P + 6·A, and 4·H.
double step_flops(const TrainingStep& step, const Model& model, const AdapterSet& adapters) {
  const ModelSpec& spec = model.decoder->spec();
  double adapter = 0, pairs = 0;
  for (const auto& [name, tensor] : adapter_parameters(adapters))
    adapter += static_cast<double>(tensor.numel());
  for (const Batch& batch : step.micro_batches) {
    for (size_t d = 1; d < batch.boundaries.size(); ++d) {
      const auto n = static_cast<double>(batch.boundaries[d] - batch.boundaries[d - 1]);
      pairs += n * (n + 1);
    }
  }
  int64_t attended = 0;  // values of all layers' heads
  for (const BlockSpec& block : spec.blocks) {
    if (const auto* attend = std::get_if<Attend>(&block.mixer))
      attended += attend->heads * attend->dim;
  }
  const double frozen = adapters.empty() ? 6 : 4;
  const double head = static_cast<double>(spec.embedding.vocabulary * spec.embedding.hidden);
  return static_cast<double>(step.tokens) * (frozen * block_weights(model) + 6 * adapter) +
         static_cast<double>(step.trained_count) * frozen * head +
         6 * pairs * static_cast<double>(attended);
}

void bench_train(const std::string& directory, const TrainBenchConfig& c) {
  const Compute compute = start_compute(c.machine, c.dtype, c.lora.enabled());
  FrozenBase base;
  if (c.lora.enabled() && !directory.empty()) {
    base = load_frozen_base(resolve_model_directory(directory), c.lora, compute);
  } else {
    base.model = open_bench_model(directory, c.base, compute,
                                  c.lora.enabled() ? BenchUse::kAdapted : BenchUse::kTrained);
  }
  const Model& model = base.model;
  Decoder& decoder = *model.decoder;
  const AdapterSet adapters = open_adapters(c.lora, model, directory, {});
  decoder.set_compute({.dtype = compute.dtype, .recompute = c.recompute});
  LocalGradients gradients(trained_parameters(model, adapters));
  AdamW optimizer(gradients, {.beta2 = 0.999, .weight_decay = 0});
  const std::function<TrainingStep()> next_step =
      step_source(directory, c, decoder.spec().embedding.vocabulary);
  SftObjective objective;
  std::vector<double> seconds, losses, norms;
  double tokens = 0, trained = 0, flops = 0;
  for (int64_t s = 0; s < c.warmup + c.steps; ++s) {
    TrainingStep step = next_step();
    const double start = seconds_now();
    const StepResult result =
        accumulate(step, objective, {.decoder = decoder, .gradients = gradients, .number = s});
    optimizer.step(c.lr, result.gradient_norm);
    losses.push_back(result.loss);
    norms.push_back(result.gradient_norm);
    if (s < c.warmup) continue;
    seconds.push_back(seconds_now() - start);
    tokens += static_cast<double>(step.tokens +
                                  step.rows);  // of the rows; a row's last token is never fed
    trained += static_cast<double>(step.trained_count);
    flops += step_flops(step, model, adapters);
  }
  const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  nlohmann::json line = {{"what", "train"},
                         {"steps", c.steps},
                         {"rows", c.rows},
                         {"micro_tokens", c.micro_tokens},
                         {"data", c.data.data},
                         {"lora_rank", adapters.options.rank},
                         {"recompute", c.recompute},
                         {"real_tokens_per_s", tokens / total},
                         {"trained_tokens_per_s", trained / total},
                         {"gflop_per_s", flops / total / 1e9},
                         {"step_seconds", seconds},
                         {"loss", losses},
                         {"grad_norm", norms},
                         {"peak_rss_gb", peak_memory_bytes() / 1e9}};
  if (c.roof && compute.device.is_cpu()) {
    const auto rows = static_cast<int64_t>(tokens / static_cast<double>(c.steps));
    const double roof = product_roof(std::min(rows, c.micro_tokens),
                                     decoder.spec().embedding.hidden, widest(model), compute.dtype);
    line.update({{"roof_gflop_per_s", roof / 1e9}, {"roof_share", flops / total / roof}});
  }
  print_bench_line(std::move(line), compute);
}

}  // namespace

void add_bench_train_command(CLI::App& bench) {
  add_bench_model_command(bench, "train", "Forward, backward and optimizer", bench_train);
}

}  // namespace continuo
