// `continuo eval`: loss, perplexity and accuracy of a model on a data set, token-weighted.
#include <cmath>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/compute_config.h"
#include "app/model_directory.h"
#include "cli/commands.h"
#include "cli/token_report.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "data/example_store.h"
#include "nn/served_decoder.h"
#include "train/evaluator.h"

namespace continuo {

namespace {

struct EvalConfig {
  ComputeConfig compute;
  int64_t micro_tokens = 8192;
  std::optional<int64_t> context;
  PromptConfig prompt;
  DataConfig data;
};

void fields(FieldVisitor& v, EvalConfig& c) {
  fields(v, c.compute);
  v.field("micro_tokens", c.micro_tokens,
          "Tokens of one forward pass; the result does not depend on it.", Range::at_least(1));
  v.field("context", c.context, "Longest document; default: the model's.", Range::at_least(2));
  v.section("prompt", c.prompt,
            "Template of a model that brings none; a checkpoint's own prompt.yaml is the default.");
  v.section("data", c.data, "How rows are read.");
}

struct EvalArguments {
  std::string directory, base, config, tokens, logits;
  std::vector<std::string> files, overrides;
  bool json = false;
};

// Formats that generation alone has are measured through its executor; without them the modules of
// training say what training would.
bool is_served(const ComputeConfig& config) {
  return config.weights != WeightChoice::kAuto || config.kv_cache != CacheChoice::kAuto;
}

std::unique_ptr<Decoder> served_decoder(const ModelDirectory& m, const ComputeConfig& config,
                                        const Compute& compute) {
  if (!is_served(config)) return nullptr;
  ServedModel served = serve_model(m.model.decoder, compute.executor);
  return std::make_unique<ServedDecoder>(std::move(served.executor), served.adapter);
}

int eval(const EvalArguments& a) {
  const auto& [directory, base, config_file, tokens_file, logits_file, files, overrides, as_json] =
      a;
  ConfigNode root = config_file.empty() ? ConfigNode{} : load_yaml(config_file);
  for (const std::string& assignment : overrides) apply_override(root, assignment);
  EvalConfig config;
  Problems problems;
  load_config(root, config, problems);
  for (const std::string& file : files) config.data.train.emplace_back().path = file;
  config.data = resolve_data_config(config.data, root, "data", problems);
  problems.raise();

  const Compute compute = start_compute(config.compute);
  install_interrupt_handlers();
  ModelDirectory m =
      open_model_directory(directory,
                           {.device = compute.device,
                            .dtype = compute.dtype,
                            .held = is_served(config.compute) ? Held::stored : Held::mapped},
                           base);
  const std::unique_ptr<Decoder> served = served_decoder(m, config.compute, compute);
  Decoder& decoder = served ? *served : *m.model.decoder;
  decoder.set_compute({.dtype = served ? at::kFloat : compute.dtype});
  const PromptTemplate prompt =
      root.find("prompt") ? PromptTemplate(config.prompt).bound_to(*m.tokenizer) : m.prompt;
  const auto store = open_example_store(config.data, config.data.train, *m.tokenizer, prompt,
                                        config.context.value_or(decoder.spec().context));
  std::optional<TokenReport> report;
  if (!tokens_file.empty() || !logits_file.empty())
    report.emplace(decoder, *store, tokens_file, logits_file);
  Progress progress({.title = "Evaluating", .total = store->size(), .unit = "rows"});
  const Evaluation e =
      evaluate(decoder, *store, config.micro_tokens,
               [&](const Batch& batch, const at::Tensor& nll, const Evaluation& so_far) {
                 if (report) report->add(batch, nll);
                 progress.update(so_far.rows, fmt::format("loss {:.4f}", so_far.loss()));
               });
  progress.finish();
  if (interrupted())
    throw Error(fmt::format("interrupted after {} of {} rows", e.rows, store->size()));
  if (report) report->commit();
  if (as_json) {
    fmt::print("{}\n", nlohmann::json({{"model", m.path.string()},
                                       {"loss", e.loss()},
                                       {"perplexity", std::exp(e.loss())},
                                       {"accuracy", e.accuracy()},
                                       {"entropy", e.mean_entropy()},
                                       {"tokens", e.tokens},
                                       {"rows", e.rows}})
                           .dump());
  } else {
    fmt::print(
        "loss {:.6f}  perplexity {:.4f}  accuracy {:.2f}%  entropy {:.4f}  {} trained tokens of {} "
        "rows\n",
        e.loss(), std::exp(e.loss()), 100 * e.accuracy(), e.mean_entropy(), e.tokens, e.rows);
  }
  return 0;
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command =
      app.add_subcommand("eval", "Loss of a model on a data set, per trained token");
  command
      ->add_option("model", arguments->directory,
                   "A model: directory, checkpoint, adapter, run or .gguf file")
      ->required();
  command->add_option("--base", arguments->base,
                      "Base model of an adapter, in place of the one that it names");
  command->add_option("--data", arguments->files, "Data files (JSONL or text)")
      ->required()
      ->expected(1, -1)
      ->allow_extra_args(false);
  command->add_option("--config", arguments->config, "YAML with the keys below")
      ->check(CLI::ExistingFile);
  command->add_option("overrides", arguments->overrides, "key=value settings");
  command->add_flag("--json", arguments->json, "One JSON object on standard output");
  command->add_option("--tokens", arguments->tokens,
                      "File to write: one JSON line per row with the nll of each trained token");
  command->add_option("--logits", arguments->logits,
                      "File to write: safetensors with ids and logits of eight rows");
  command->footer("Keys:\n" + config_help(EvalConfig{}));
  command->callback([arguments] { eval(*arguments); });
}

}  // namespace continuo
