// `continuo eval`: loss, perplexity and accuracy of a model on a data set, token-weighted.
#include <cmath>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/compute_config.h"
#include "app/model_directory.h"
#include "app/ranks.h"
#include "cli/commands.h"
#include "cli/row_files.h"
#include "cli/token_report.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "data/example_store.h"
#include "nn/served_decoder.h"
#include "train/evaluator.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

struct EvalConfig {
  ComputeConfig compute;
  RanksConfig ranks;
  int64_t micro_tokens = 8192;
  std::optional<int64_t> context;
  PromptConfig prompt;
  DataConfig data;
};

void fields(FieldVisitor& v, EvalConfig& c) {
  fields(v, c.compute);
  fields(v, c.ranks);
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

void print(const Evaluation& e, const fs::path& model, bool as_json) {
  if (as_json) {
    fmt::print("{}\n", nlohmann::json({{"model", model.string()},
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
}

int eval_as_rank(const EvalArguments& a, const ConfigNode& root, const EvalConfig& config,
                 Communicator& ranks) {
  const Compute compute = start_compute(config.compute);
  install_interrupt_handlers();
  ModelDirectory m =
      open_model_directory(a.directory,
                           {.device = compute.device,
                            .dtype = compute.dtype,
                            .held = is_served(config.compute) ? Held::stored : Held::mapped},
                           a.base);
  const std::unique_ptr<Decoder> served = served_decoder(m, config.compute, compute);
  Decoder& decoder = served ? *served : *m.model.decoder;
  decoder.set_compute({.dtype = served ? at::kFloat : compute.dtype});
  const PromptTemplate prompt = prompt_of(root, config.prompt, m);
  const auto store = first_rank_first(ranks, "rank 0's data", [&] {
    return open_example_store(config.data, config.data.train, *m.tokenizer, prompt,
                              config.context.value_or(decoder.spec().context));
  });
  check_equal(ranks, store->hash(), "data");
  std::optional<TokenReport> report;
  if (!a.tokens.empty()) report.emplace(decoder, *store, ranks, a.tokens);
  std::optional<Progress> progress;
  if (ranks.is_first())
    progress.emplace(
        ProgressOptions{.title = "Evaluating", .total = store->size(), .unit = "rows"});
  const auto show = [&](const Batch* batch, const at::Tensor& nll, const Evaluation& so_far) {
    if (report) report->add(batch, nll);
    // Of all ranks, which are about as far as this one.
    const int64_t rows = std::min(store->size(), so_far.rows * ranks.size());
    if (progress) progress->update(rows, fmt::format("loss {:.4f}", so_far.loss()));
  };
  const Evaluation e =
      evaluate(decoder, *store, config.micro_tokens,
               {.ranks = &ranks, .together = report.has_value(), .on_batch = show});
  if (progress) progress->finish();
  if (ranks.any(interrupted(), "the others' evaluation"))
    throw CommonError(fmt::format("interrupted after {} of {} rows", e.rows, store->size()));
  if (report) report->commit();
  if (!ranks.is_first()) return 0;
  if (!a.logits.empty()) write_logits(decoder, *store, a.logits);
  print(e, m.path, a.json);
  return 0;
}

int eval(const EvalArguments& a) {
  ConfigNode root = a.config.empty() ? ConfigNode{} : load_yaml(a.config);
  for (const std::string& assignment : a.overrides) apply_override(root, assignment);
  auto config = load_settings_of_rows<EvalConfig>(root, a.files);
  return run_ranks(config.ranks, config.compute,
                   [&](Communicator& ranks) { return eval_as_rank(a, root, config, ranks); });
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
                      "File to write: safetensors with ids and logits of the first eight rows");
  command->footer("Keys:\n" + config_help(EvalConfig{}));
  command->callback([arguments] {
    if (const int code = eval(*arguments)) throw CLI::RuntimeError(code);
  });
}

}  // namespace continuo
