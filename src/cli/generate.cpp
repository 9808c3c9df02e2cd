// `continuo generate`: completions of prompts from the command line, a file or standard input; on a
// terminal without a prompt, a session.
#include <cstdio>
#include <iostream>
#include <iterator>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "app/completer.h"
#include "app/compute_config.h"
#include "app/ranks.h"
#include "app/settings.h"
#include "cli/commands.h"
#include "cli/generate_output.h"
#include "cli/interactive.h"
#include "core/config/keys.h"
#include "core/console.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/text_flow.h"

namespace continuo {

namespace {

struct Arguments {
  std::string directory, base, beside, file, config, draft;
  std::vector<std::string> prompts, fields, settings;  // settings: key=value, stage names, "-"
  ComputeConfig compute;
  RanksConfig ranks;
  bool raw = false, json = false, explain = false;
};

std::string read_stdin(bool raw) {
  std::string text(std::istreambuf_iterator<char>(std::cin), {});
  // A shell ends what it pipes with a line end that nobody typed.
  if (!raw && text.ends_with('\n')) text.pop_back();
  return text;
}

// "-" among the settings, which it leaves.
bool take_dash(std::vector<std::string>& settings) { return std::erase(settings, "-") > 0; }

// All prompts; none means a session.
std::vector<PromptInput> gather_prompts(const Arguments& a, bool dash) {
  const int sources = !a.prompts.empty() + !a.file.empty() + !a.fields.empty() + dash;
  if (sources > 1) {
    throw Error::usage("the prompt comes from more than one place",
                       "use one of --prompt, --file, --field and -");
  }
  std::vector<PromptInput> inputs;
  for (const std::string& text : a.prompts) inputs.push_back({text, {}});
  if (!a.file.empty()) inputs = read_prompt_file(a.file);
  if (!a.fields.empty()) inputs.push_back({parse_field_arguments(a.fields), {}});
  if (dash || (sources == 0 && isatty(STDIN_FILENO) == 0)) {
    inputs.push_back({read_stdin(a.raw), {"standard input"}});
  }
  return inputs;
}

GenerationConfig settings_of(const Arguments& a, GenerationConfig config) {
  if (!a.config.empty()) load_settings(config, a.config);
  if (!a.draft.empty()) apply_generation_override(config, "draft=" + a.draft);
  for (const std::string& setting : a.settings) {
    if (setting.find('=') == std::string::npos && !find_stage(setting)) {
      throw Error::usage(fmt::format("'{}' is neither key=value nor a sampler stage", setting),
                         "a prompt is given with --prompt \"…\"");
    }
    apply_generation_override(config, setting);
  }
  return config;
}

void explain(const GenerationConfig& config) { log_info("{}", describe_settings(config)); }

// The single completion, written as it is generated.
GenerationResult stream_one(Completer& completer, const std::vector<std::vector<TokenId>>& ids,
                            const GenerationConfig& config) {
  TextFlow flow;
  const auto write = [](const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  GenerationResult result = completer.complete(
      ids, config, [&](const Completion&, std::string_view bytes) { write(flow.push(bytes)); });
  write(flow.finish() + "\n");
  return result;
}

GenerationResult run_batch(Completer& completer, const std::vector<std::vector<TokenId>>& ids,
                           const GenerationConfig& config) {
  Progress progress({.title = "Generating", .unit = "tokens"});
  return completer.complete(ids, config,
                            [&](const Completion&, std::string_view) { progress.add(); });
}

// The completions of this rank's prompts; a completion's noise knows nothing of other prompts.
GenerationResult run_own(Completer& completer, const std::vector<std::vector<TokenId>>& ids,
                         const GenerationConfig& config, Communicator& ranks) {
  if (ranks.size() == 1) return run_batch(completer, ids, config);
  const std::vector<size_t> items = own_items(ranks, ids.size());
  std::vector<std::vector<TokenId>> own;
  for (const size_t item : items) own.push_back(ids[item]);
  if (own.empty()) return {};
  GenerationResult result =
      ranks.is_first() ? run_batch(completer, own, config) : completer.complete(own, config, {});
  for (Completion& completion : result.completions) {
    completion.prompt = static_cast<int64_t>(items[static_cast<size_t>(completion.prompt)]);
  }
  return result;
}

std::string block(const Completion& completion, const PromptInput& input, int64_t samples) {
  constexpr int kTitleColumns = 90;
  std::string label = fmt::format("prompt {}", completion.prompt + 1);
  if (samples > 1) label += fmt::format(", sample {}", completion.sample + 1);
  return fmt::format("{}{}: {}\n{}\n", completion.prompt == 0 && completion.sample == 0 ? "" : "\n",
                     label, title_of(input, kTitleColumns), text_of(completion));
}

std::vector<std::vector<TokenId>> encode_all(const Arguments& a,
                                             const std::vector<PromptInput>& inputs,
                                             const Completer& completer) {
  std::vector<std::vector<TokenId>> ids;
  for (const PromptInput& input : inputs) {
    ids.push_back(encode_input(input, completer.tokenizer(), completer.prompt(), a.raw));
  }
  return ids;
}

// Every prompt with the completions of both models under the same settings, the other model's
// first.
void compare(const Arguments& a, const Compute& compute, const std::vector<PromptInput>& inputs) {
  GenerationConfig config;
  std::vector<GenerationResult> results;
  const std::string directories[] = {a.directory, a.beside};
  for (const std::string& directory : directories) {
    const bool first = results.empty();
    Completer completer(open_served_model(directory, compute, first ? a.base : ""));
    if (first) config = settings_of(a, completer.defaults());
    completer.check(config);
    results.push_back(run_batch(completer, encode_all(a, inputs, completer), config));
    if (interrupted()) throw Error("interrupted");
  }
  constexpr int kPromptColumns = 90;
  for (size_t i = 0; i < results[0].completions.size(); ++i) {
    const Completion& ours = results[0].completions[i];
    fmt::print("{}prompt {}: {}\n", i == 0 ? "" : "\n", ours.prompt + 1,
               title_of(inputs[static_cast<size_t>(ours.prompt)], kPromptColumns));
    fmt::print("[{}]\n{}\n[{}]\n{}\n", a.beside, text_of(results[1].completions[i]), a.directory,
               text_of(ours));
  }
  std::fflush(stdout);
}

// What is printed of a prompt's completions.
std::vector<std::string> describe_prompts(const GenerationResult& result,
                                          const std::vector<PromptInput>& inputs,
                                          const std::vector<std::vector<TokenId>>& ids,
                                          const GenerationConfig& config, const Arguments& a,
                                          const Tokenizer& tokenizer) {
  const bool one = inputs.size() == 1 && config.samples == 1;
  std::vector<std::string> texts;
  int64_t last = -1;
  for (const Completion& completion : result.completions) {
    const auto index = static_cast<size_t>(completion.prompt);
    if (completion.prompt != std::exchange(last, completion.prompt)) texts.emplace_back();
    if (a.json) {
      texts.back() +=
          completion_json(completion, inputs[index], ids[index], config, result.timings, tokenizer)
              .dump() +
          "\n";
    } else {
      texts.back() +=
          one ? text_of(completion) + "\n" : block(completion, inputs[index], config.samples);
    }
  }
  return texts;
}

void check_for_ranks(const Arguments& a, const std::vector<PromptInput>& inputs, bool dash) {
  if (dash || inputs.empty() || !a.beside.empty()) {
    throw Error::usage("several ranks complete prompts of --file or --prompt",
                       "leave `ranks` out for a session, standard input and --beside");
  }
}

int generate_as_rank(const Arguments& a, const std::vector<PromptInput>& inputs,
                     Communicator& ranks) {
  const Compute compute = start_compute(a.compute);
  install_interrupt_handlers();
  if (!a.beside.empty()) {
    compare(a, compute, inputs);
    return 0;
  }
  Completer completer(open_served_model(a.directory, compute, a.base));
  const GenerationConfig config = settings_of(a, completer.defaults());
  completer.check(config);
  if (a.explain && ranks.is_first()) explain(config);
  if (inputs.empty()) {
    run_session(completer, config);
    return 0;
  }

  const std::vector<std::vector<TokenId>> ids = encode_all(a, inputs, completer);
  const bool streams = inputs.size() == 1 && config.samples == 1 && !a.json && ranks.size() == 1;
  const GenerationResult result =
      streams ? stream_one(completer, ids, config) : run_own(completer, ids, config, ranks);
  const bool stopped = ranks.any(interrupted(), "the others' completions");
  if (stopped && ranks.size() > 1) throw CommonError("interrupted");
  if (!streams) {
    const auto texts =
        in_order(ranks, describe_prompts(result, inputs, ids, config, a, completer.tokenizer()),
                 inputs.size(), "the others' completions");
    if (ranks.is_first()) {
      for (const std::string& text : texts) fmt::print("{}", text);
    }
  }
  std::fflush(stdout);
  if (ranks.is_first()) log_dim(summarize(result, completer.tokenizer()));
  if (stopped) throw Error("interrupted");
  for (const Completion& completion : result.completions) {
    if (completion.reason == FinishReason::kError) throw Error(completion.error);
  }
  return 0;
}

int generate(Arguments a) {
  const bool dash = take_dash(a.settings);
  std::vector<PromptInput> inputs = gather_prompts(a, dash);
  if (inputs.empty() && (a.json || a.raw)) {
    throw Error::usage("--json and --raw need a prompt", "give --prompt, --file or -");
  }
  if (!a.beside.empty() && (inputs.empty() || a.json)) {
    throw Error::usage("--beside prints completions of given prompts as text",
                       "give --prompt, --file or -, without --json");
  }
  // Before the model, which may take long: faults of the settings show at once.
  settings_of(a, {});
  if (!placement_for(a.ranks).alone() || a.ranks.ranks > 1) check_for_ranks(a, inputs, dash);
  return run_ranks(a.ranks, a.compute,
                   [&](Communicator& ranks) { return generate_as_rank(a, inputs, ranks); });
}

// An option for each key of `config`, which the command's parser fills in.
template <class Config>
void add_key_options(CLI::App& command, Config& config) {
  for (const ConfigKey& key : config_keys<Config>()) {
    if (key.type.empty()) continue;  // a section, whose keys follow
    const auto read = [&config, name = key.key](const std::string& value) {
      ConfigNode root;
      apply_override(root, fmt::format("{}={}", name, value));
      Problems problems;
      load_config(root, config, problems);
      try {
        problems.raise();
      } catch (const Error& error) {
        throw CLI::ValidationError(error.what());  // wrong usage
      }
    };
    command.add_option_function<std::string>("--" + key.key, read, key.help)
        ->type_name(fmt::format("{}, default {}", key.type, key.value));
  }
}

constexpr const char* kExamples =
    "Examples:\n"
    "  continuo generate runs/quickstart --prompt \"Give me a tagline for a bakery.\"\n"
    "  continuo generate runs/quickstart --file prompts.txt --config creative samples=3\n"
    "  echo \"Once upon a time\" | continuo generate runs/quickstart - temperature=1.2 seed=7\n"
    "  continuo generate runs/quickstart              (a session: /help lists its commands)\n\n"
    "Settings come from the checkpoint's experiment.yaml, then --config, then key=value. A key is "
    "one\nof these or a sampler stage (temperature=0.7, top_p=0.9, greedy, min_p=off):\n";

}  // namespace

void add_generate_command(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("generate", "Complete prompts with a model");
  command
      ->add_option("model", a->directory,
                   "A model: directory, checkpoint, adapter, run or .gguf file")
      ->required();
  command->add_option("--base", a->base,
                      "Base model of an adapter, in place of the one that it names");
  command->add_option("--beside", a->beside,
                      "Another model: print its completions beside each of this one's");
  command->add_option("settings", a->settings, "key=value settings; - reads one prompt from stdin");
  command->add_option("--prompt", a->prompts, "A prompt; may be repeated")
      ->expected(1, -1)
      ->allow_extra_args(false);
  command->add_option("--file", a->file, "One prompt a line; .jsonl: one record or messages a line")
      ->check(CLI::ExistingFile);
  command->add_option("--field", a->fields, "name=value: a field of the prompt template")
      ->expected(1, -1)
      ->allow_extra_args(false);
  command->add_flag("--raw", a->raw, "Without the prompt template: continue the text as it is");
  command->add_option("--config", a->config, "YAML with the keys below, or a preset (creative)");
  add_key_options(*command, a->compute);
  add_key_options(*command, a->ranks);
  command->add_option("--draft", a->draft,
                      "Speculative decoding, same completions: lookup, self or a smaller model");
  command->add_flag("--json", a->json, "One JSON object per completion on standard output");
  command->add_flag("--explain", a->explain, "Say which settings and sampler stages are in force");
  command->footer(kExamples + config_help(GenerationConfig{}));
  command->callback([a] {
    if (const int code = generate(*a)) throw CLI::RuntimeError(code);
  });
}

}  // namespace continuo
