// `continuo inspect`: what an experiment will do, or what a model directory holds, before any time
// is spent on it.
#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>
#include <unistd.h>

#include "app/experiment.h"
#include "app/experiment_tokenizer.h"
#include "app/model_directory.h"
#include "app/prompt_choice.h"
#include "cli/commands.h"
#include "cli/inspect_data.h"
#include "cli/inspect_memory.h"
#include "cli/inspect_text.h"
#include "core/console.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "data/example_store.h"
#include "nn/backend.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

// Parameters by name; blocks of equal shape are one line.
std::string parameter_table(const Model& model) {
  struct Line {
    std::string name, shape;
    int64_t count = 0, numbers = 0;
  };
  std::vector<Line> lines;
  for (const auto& item : model.decoder->named_parameters()) {
    std::string name = model.family->checkpoint_name(item.key());
    const size_t at = name.find("layers.");
    if (at != std::string::npos)
      name = name.substr(0, at + 7) + "*" + name.substr(name.find('.', at + 7));
    auto line =
        std::find_if(lines.begin(), lines.end(), [&](const Line& l) { return l.name == name; });
    if (line == lines.end())
      line = lines.insert(
          lines.end(),
          Line{name, fmt::format("[{}]", fmt::join(item.value().sizes(), ", ")), 0, 0});
    ++line->count;
    line->numbers += item.value().numel();
  }
  std::string table =
      fmt::format("{:<48} {:>16} {:>6} {:>14}\n", "parameter", "shape", "times", "numbers");
  for (const Line& line : lines) {
    table += fmt::format("{:<48} {:>16} {:>6} {:>14}\n", line.name, line.shape, line.count,
                         line.numbers);
  }
  return table + fmt::format("{:<48} {:>16} {:>6} {:>14}\n", "total", "", "",
                             count_parameters(*model.decoder));
}

void print_heading(const std::string& title) { fmt::print("\n── {} ──\n", title); }

void inspect_experiment(const std::string& file, const std::vector<std::string>& overrides,
                        int64_t examples, bool colour) {
  const Experiment e = load_experiment(file, overrides);
  const ExperimentConfig& c = e.config;
  print_heading("configuration");
  fmt::print("{}", resolved_yaml(e));

  const std::shared_ptr<const Tokenizer> tokenizer = find_experiment_tokenizer(e);
  print_heading("model");
  const int64_t vocabulary = tokenizer ? tokenizer->size() : c.tokenizer.train.vocab_size;
  const Model model = c.model.from.empty() ? outline_model(c.model, vocabulary)
                                           : load_model(resolve_model_directory(c.model.from),
                                                        {.held = Held::nowhere});
  fmt::print("{}", parameter_table(model));
  if (!tokenizer) {
    fmt::print(
        "\nThe tokenizer is trained at the first start of the run; token statistics are shown from "
        "then on.\n");
    return;
  }
  const DataSets data = open_data_sets(c.data, *tokenizer, experiment_prompt(e, *tokenizer),
                                       model.decoder->spec().context);
  print_heading("training data");
  print_data_report(*data.train, *tokenizer, examples, colour);
  if (data.eval) {
    print_heading("evaluation data");
    print_data_report(*data.eval, *tokenizer, 0, colour);
  }
}

std::string describe_shape(const ModelSpec& spec) {
  std::string shape = fmt::format("{} layers, hidden {}", spec.layers(), spec.embedding.hidden);
  for (const BlockSpec& block : spec.blocks) {
    if (const auto* attend = std::get_if<Attend>(&block.mixer)) {
      shape += fmt::format(", {} heads sharing {} key/value heads of {}", attend->heads,
                           attend->kv_heads, attend->dim);
      break;
    }
  }
  return shape + fmt::format(", context {}", spec.context);
}

void inspect_model(const std::string& path) {
  const ModelDirectory m = open_model_directory(path, {.held = Held::stored});
  const ModelSpec& spec = m.model.decoder->spec();
  print_heading("model");
  fmt::print(
      "{}\n{}: {}\n"
      "generation runs on the {}\n\n{}",
      m.path.string(), m.model.family->architecture, describe_shape(spec),
      backend_of(m.model.decoder->device()).executor(), parameter_table(m.model));
  if (m.adapter) {
    const LoraOptions& o = m.adapter->options;
    print_heading("adapter, on top of the above");
    fmt::print("{} of rank {}, scaled by {:.4g}, on {}\n", o.dora ? "DoRA" : "LoRA", o.rank,
               o.scaling(), m.base.string());
  }
  print_heading("tokenizer");
  fmt::print("{:<22}{} ids, hash {}\n{}", "vocabulary", m.tokenizer->size(), m.tokenizer->hash(),
             describe_text_rules(m));
  print_heading("prompt");
  fmt::print("{}", dump_config(m.prompt.config()));
  const fs::path state_file = m.path / kStateFile;
  if (!fs::exists(state_file)) return;
  const TrainState state = open_checkpoint(m.path).state;
  print_heading("training");
  fmt::print("step {}, epoch {}, {} tokens ({} trained), {} trained in {}\n", state.step,
             state.epoch + 1, format_count(static_cast<double>(state.tokens)),
             format_count(static_cast<double>(state.trained_tokens)),
             state.best_eval_loss ? fmt::format("best eval loss {:.4f} at step {},",
                                                *state.best_eval_loss, state.best_eval_step)
                                  : "",
             format_duration(state.seconds));
  const Arithmetic& a = state.arithmetic;
  fmt::print("computed with {} threads{}\n", a.threads,
             a.dtype.empty() ? "" : fmt::format(" in {} ({})", a.dtype, a.instruction_set));
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  struct Arguments {
    std::string path;
    std::vector<std::string> overrides;
    int64_t examples = 3;
    bool memory = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("inspect", "Show what an experiment will train on, or what a model holds");
  command
      ->add_option("path", arguments->path,
                   "CONFIG.yaml, or a model: its directory, a run, an adapter, a .gguf file")
      ->required()
      ->check(CLI::ExistingPath);
  command->add_option("overrides", arguments->overrides, "key=value settings");
  command->add_option("--examples", arguments->examples, "Examples shown with their mask")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--memory", arguments->memory,
                    "What a model holds while it is served; takes dtype=, weights= and kv_cache=");
  command->callback([arguments] {
    install_interrupt_handlers();
    const bool colour = shows_colour(STDOUT_FILENO);
    if (arguments->memory) {
      inspect_memory(arguments->path, arguments->overrides);
    } else if (fs::is_directory(arguments->path) || is_gguf_file(arguments->path)) {
      inspect_model(arguments->path);
    } else {
      inspect_experiment(arguments->path, arguments->overrides, arguments->examples, colour);
    }
  });
}

}  // namespace continuo
