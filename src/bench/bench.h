// What the subcommands of `bench` share: the model that is measured, how keys are read, and what
// every line says of the machine.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/App.hpp>
#include <nlohmann/json_fwd.hpp>

#include "app/compute_config.h"
#include "core/config/config.h"
#include "generate/sampling/vocabulary.h"
#include "models/store/lora_config.h"
#include "models/store/model.h"

namespace continuo {

// Keys of every subcommand that runs a model.
struct BenchModelConfig {
  ModelConfig model = smollm2_135m();  // when no directory is given
  int64_t vocabulary = 49152;

  static ModelConfig smollm2_135m();
};
void fields(FieldVisitor& v, BenchModelConfig& c);
void validate(const BenchModelConfig& config, const ConfigNode& root, Problems& problems);

// What the weights are for: to be trained, float32 in memory of their own; to be adapted, in the
// products' type; to be served, as they are stored where that is narrower.
enum class BenchUse { kTrained, kAdapted, kServed };

// The model of a directory, or random weights of config.model's shape where it is empty.
Model open_bench_model(const std::string& directory, const BenchModelConfig& config,
                       const Compute& compute, BenchUse use);

// Parameters in the matrices of the blocks: those that every token is multiplied with. The head is
// not among them.
double block_weights(const Model& model);
// The largest side of one of these matrices.
int64_t widest(const Model& model);

// The value that a share of the others lies below.
double quantile(std::vector<double> values, double share);
inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

// Tokens that are words or ends of lines, for what is measured without a tokenizer.
Vocabulary plain_vocabulary(int64_t size);

// One line on standard output: `line`, then what is needed to compare it with others: system,
// version of torch, CPU, instruction set of the kernels, threads and the peak memory so far in GB
// (unless `line` has it already).
void print_bench_line(nlohmann::json line, int64_t threads);
void print_bench_line(nlohmann::json line, const Compute& compute);

// A `Config` from its defaults and key=value overrides. Error: all faults at once.
template <class Config>
Config read_bench_config(const std::vector<std::string>& overrides) {
  ConfigNode root;
  for (const std::string& assignment : overrides) apply_override(root, assignment);
  Config config;
  Problems problems;
  load_config(root, config, problems);
  if constexpr (requires { config.base; }) validate(config.base, root, problems);
  if constexpr (requires { config.lora; }) validate(config.lora, root, "lora", problems);
  problems.raise();
  return config;
}

// A subcommand that takes [--model DIR] and key=value settings; `Config` has a member `base` of
// type BenchModelConfig.
template <class Config>
void add_bench_model_command(CLI::App& bench, const std::string& name, const std::string& help,
                             void (*run)(const std::string& directory, const Config& config)) {
  struct Arguments {
    std::string directory;
    std::vector<std::string> overrides;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = bench.add_subcommand(name, help);
  command->add_option("--model", arguments->directory,
                      "Model directory; default: random weights of SmolLM2-135M's shape");
  command->add_option("overrides", arguments->overrides, "key=value settings");
  command->footer([] { return "Keys:\n" + config_help(Config{}); });
  command->callback([arguments, run] {
    run(arguments->directory, read_bench_config<Config>(arguments->overrides));
  });
}

}  // namespace continuo
