// `continuo convert`: a model between the layouts of Hugging Face and GGUF.
#include <CLI/CLI.hpp>

#include "app/calibration.h"
#include "app/compute_config.h"
#include "app/gguf_model.h"
#include "app/model_directory.h"
#include "cli/commands.h"
#include "cli/row_files.h"
#include "core/config/config.h"
#include "core/files.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/log.h"
#include "data/example_store.h"
#include "data/example_stream.h"
#include "io/model_tensors.h"
#include "models/store/gguf_checkpoint.h"
#include "text/prompt/chat_template_file.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

struct ConvertArguments {
  fs::path source, out;
  std::string to, type = "f16";
  std::vector<std::string> calibration, overrides;
};

// How rows are read by which codes of blocks are chosen.
struct CalibrationConfig {
  int64_t threads = 0;
  int64_t tokens = 16384;
  PromptConfig prompt;
  DataConfig data;
};

void fields(FieldVisitor& v, CalibrationConfig& c) {
  threads_field(v, c.threads);
  v.field("tokens", c.tokens,
          "The first so many of the rows' tokens are read, in one pass; more take more memory.",
          Range::at_least(2));
  v.section("prompt", c.prompt,
            "Template of a model that brings none; a checkpoint's own prompt.yaml is the default.");
  v.section("data", c.data, "How rows are read.");
}

std::map<std::string, at::Tensor> calibrated(const ConvertArguments& a, const ModelDirectory& m,
                                             const nlohmann::json& model_config,
                                             const GgufTypes& types) {
  if (a.calibration.empty()) return {};
  ConfigNode root;
  for (const std::string& assignment : a.overrides) apply_override(root, assignment);
  const auto config = load_settings_of_rows<CalibrationConfig>(root, a.calibration);
  set_threads(config.threads);
  install_interrupt_handlers();
  const auto store = open_example_store(config.data, config.data.train, *m.tokenizer,
                                        prompt_of(root, config.prompt, m),
                                        std::min(config.tokens, m.model.decoder->spec().context));
  const auto batches = evaluation_batches(*store, config.tokens);
  if (batches.empty()) throw Error("there are no rows to calibrate by");
  const Batch batch = make_batch(*store, batches.front());
  log_info("calibrating by {} tokens of {} rows", batch.tokens.size(0), batch.rows.size());
  return calibrate(m.model, batch, [&](const std::string& name) {
    return gguf_matrix_type(model_config, name, types);
  });
}

void convert_to_gguf(const ConvertArguments& a, const GgufTypes& types) {
  const fs::path directory = resolve_model_directory(a.source);
  if (is_gguf_file(directory) || is_adapter_directory(directory)) {
    throw Error(directory.string() + " is no whole Hugging Face directory",
                "Convert a .gguf file with --to hf, merge an adapter with `continuo merge`, then "
                "convert the result.");
  }
  // Opening checks the whole: keys, shapes, tokenizer, template.
  const ModelDirectory model = open_model_directory(directory, {});
  const nlohmann::json config = read_json(directory / "config.json");
  GgufContent content = gguf_content(config, read_model_tensors(directory), types,
                                     calibrated(a, model, config, types));
  const auto chat_template = read_chat_template(directory);
  add_gguf_tokenizer(*model.tokenizer, model.model.decoder->spec().embedding.vocabulary,
                     chat_template ? chat_template->source : "",
                     exports_bos(*model.tokenizer, model.prompt), content.metadata);
  if (!content.other_types.empty()) {
    log_info("{} matrices have rows that are no whole blocks of {} values; they keep more bits",
             content.other_types.size(), ggml_format(types.mlp_in).block_size);
  }
  const fs::path out = a.out.empty() ? directory / fmt::format("model-{}.gguf", a.type) : a.out;
  const fs::path part = out.string() + ".part";
  write_gguf(part, content.metadata, content.tensors);
  fs::rename(part, out);
  log_info("{}: {:.1f} MB", out.string(), static_cast<double>(fs::file_size(out)) / 1e6);
}

void convert_to_hf(const ConvertArguments& a) {
  ModelDirectory model = open_model_directory(a.source, {});
  merge_adapters(model.adapters);
  fs::path out = a.out;
  if (out.empty()) out = fs::path(a.source).replace_extension("");
  if (fs::exists(out) && !fs::is_empty(out)) {
    throw Error(out.string() + " exists and is not empty", "Give another directory with --out.");
  }
  AtomicDirectory files(out);
  write_model_directory(model.model, *model.tokenizer, model.prompt, files.path(), model.eos);
  files.commit();
  log_info("{}", out.string());
}

void convert(const ConvertArguments& a) {
  const GgufTypes types = *gguf_types(a.type);
  if (!a.calibration.empty() && (a.to == "hf" || ggml_format(types.mlp_in).block_size == 1)) {
    throw Error("--calibrate chooses the codes of blocks, and there are none to choose",
                "Use it with --to gguf and a --type of blocks: q4_1, q4_k, …");
  }
  if (a.calibration.empty() && !a.overrides.empty())
    throw Error(a.overrides[0] + " is a setting of --calibrate, which is not there");
  if (a.to == "hf") return convert_to_hf(a);
  convert_to_gguf(a, types);
}

}  // namespace

void add_convert_command(CLI::App& app) {
  auto args = std::make_shared<ConvertArguments>();
  CLI::App* command =
      app.add_subcommand("convert", "Convert a model between Hugging Face's layout and GGUF");
  command->add_option("model", args->source, "Model directory, run directory or .gguf file")
      ->required();
  command->add_option("--to", args->to, "gguf, or hf: a Hugging Face directory in float32")
      ->required()
      ->check(CLI::IsMember({"gguf", "hf"}));
  command
      ->add_option("--type", args->type,
                   "Of the matrices in the GGUF file; q4_1_m: q4_1 for the gates and ups of MLPs, "
                   "q5_1 for the others")
      ->check(CLI::IsMember(gguf_type_names()))
      ->capture_default_str();
  command->add_option("-o,--out", args->out,
                      "Where to write; default: model-TYPE.gguf in the model's directory, or a "
                      "directory named as the .gguf file");
  command
      ->add_option("--calibrate", args->calibration,
                   "Data files (JSONL or text): codes of blocks are chosen so that products with "
                   "what these rows put through the model come out right")
      ->expected(1, -1)
      ->allow_extra_args(false);
  command->add_option("overrides", args->overrides, "key=value settings of --calibrate");
  command->footer("Keys:\n" + config_help(CalibrationConfig{}));
  command->callback([args] { convert(*args); });
}

}  // namespace continuo
