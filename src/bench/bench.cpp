// `continuo bench`: speed and memory of what the other commands do, one JSON line per measurement.
#include "bench/bench.h"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/version.h>

#include "app/model_directory.h"
#include "bench/commands.h"
#include "core/process.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/device_memory.h"

namespace continuo {

using nlohmann::json;

ModelConfig BenchModelConfig::smollm2_135m() {
  ModelConfig c;
  c.layers = 30;
  c.hidden = 576;
  c.heads = 9;
  c.kv_heads = 3;
  c.intermediate = 1536;
  c.context = 8192;
  c.rope_theta = 100000;
  return c;
}

void fields(FieldVisitor& v, BenchModelConfig& c) {
  v.section("model", c.model, "Shape of a random model, when no directory is given.");
  v.field("vocabulary", c.vocabulary, "Vocabulary of a random model.", Range::at_least(2));
}

void validate(const BenchModelConfig& config, const ConfigNode& root, Problems& problems) {
  validate(config.model, root, "model", problems);
}

namespace {

// Random weights, drawn where they are computed with: a large model's would take the CPU minutes.
Model random_model(const BenchModelConfig& config, at::Device device, at::ScalarType dtype) {
  const c10::NoGradGuard no_grad;
  Model model = outline_model(config.model, config.vocabulary);
  for (at::Tensor& parameter : model.decoder->parameters()) {
    const bool matrix = parameter.dim() >= 2;
    const at::Tensor values =
        at::empty(parameter.sizes(), at::TensorOptions(matrix ? dtype : at::kFloat).device(device));
    parameter.set_data(matrix ? values.normal_(0, 0.02) : values.fill_(1));
  }
  return model;
}

}  // namespace

Model open_bench_model(const std::string& directory, const BenchModelConfig& config,
                       const Compute& compute, BenchUse use) {
  const bool trained = use == BenchUse::kTrained;
  const at::ScalarType dtype = trained ? at::kFloat : compute.dtype;
  if (!directory.empty()) {
    const Held held = trained                    ? Held::memory
                      : use == BenchUse::kServed ? Held::stored
                                                 : Held::mapped;
    return load_model(resolve_model_directory(directory),
                      {.device = compute.device, .dtype = dtype, .held = held});
  }
  if (!compute.device.is_cpu()) return random_model(config, compute.device, dtype);
  Model model = make_model(config.model, config.vocabulary, compute.device);
  if (dtype != at::kFloat) {
    for (at::Tensor& parameter : model.decoder->parameters()) {
      if (parameter.dim() >= 2) parameter.set_data(parameter.detach().to(dtype));
    }
  }
  return model;
}

double block_weights(const Model& model) {
  double sum = 0;
  for (const LinearImpl* layer : linear_layers(*model.decoder))
    sum += static_cast<double>(layer->weight.numel());
  return sum;
}

int64_t widest(const Model& model) {
  int64_t side = 0;
  for (const LinearImpl* layer : linear_layers(*model.decoder))
    side = std::max({side, layer->weight.size(0), layer->weight.size(1)});
  return side;
}

void print_bench_line(json line, int64_t threads) {
  line.update({{"system", "continuo"},
               {"torch", TORCH_VERSION},
               {"cpu", cpu_name()},
               {"isa", kernels().instruction_set},
               {"threads", threads}});
  line.emplace("peak_rss_gb", peak_memory_bytes() / 1e9);
  fmt::print("{}\n", line.dump());
}

double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  const auto at = static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5);
  return values.at(at);
}

Vocabulary plain_vocabulary(int64_t size) {
  Vocabulary vocabulary;
  vocabulary.size = size;
  vocabulary.token_bytes = [](TokenId id) {
    return id % 50 == 0 ? std::string("\n") : std::string("word");
  };
  vocabulary.encode = [](std::string_view) { return std::vector<TokenId>(); };
  return vocabulary;
}

void print_bench_line(json line, const Compute& compute) {
  line.update({{"dtype", dtype_name(compute.dtype)}, {"device", compute.device.str()}});
  if (const double bytes = peak_device_bytes(compute.device); bytes > 0)
    line.emplace("peak_device_gb", bytes / 1e9);
  print_bench_line(std::move(line), compute.threads);
}

void add_bench_command(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure; one JSON line per measurement");
  bench->require_subcommand(1);
  add_bench_train_command(*bench);
  add_bench_generate_command(*bench);
  add_bench_sample_command(*bench);
  add_bench_draft_command(*bench);
  add_bench_streams_command(*bench);
  add_bench_tokenize_command(*bench);
  add_bench_data_command(*bench);
  add_bench_load_command(*bench);
  add_bench_products_command(*bench);
  add_bench_ranks_command(*bench);
  add_bench_roof_command(*bench);
}

}  // namespace continuo
