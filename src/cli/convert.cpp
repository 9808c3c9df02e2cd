// `continuo convert`: a model between the layouts of Hugging Face and GGUF.
#include <CLI/CLI.hpp>

#include "app/gguf_model.h"
#include "app/model_directory.h"
#include "cli/commands.h"
#include "core/files.h"
#include "core/json.h"
#include "core/log.h"
#include "io/model_tensors.h"
#include "models/store/gguf_checkpoint.h"
#include "text/prompt/chat_template_file.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

struct ConvertArguments {
  fs::path source, out;
  std::string to, type = "f16";
};

void convert_to_gguf(const ConvertArguments& a, const GgmlFormat& format) {
  const fs::path directory = resolve_model_directory(a.source);
  if (is_gguf_file(directory) || is_adapter_directory(directory)) {
    throw Error(directory.string() + " is no whole Hugging Face directory",
                "Convert a .gguf file with --to hf, merge an adapter with `continuo merge`, then "
                "convert the result.");
  }
  // Opening checks the whole: keys, shapes, tokenizer, template.
  const ModelDirectory model = open_model_directory(directory, {});
  const nlohmann::json config = read_json(directory / "config.json");
  GgufContent content = gguf_content(config, read_model_tensors(directory), format.type);
  const auto chat_template = read_chat_template(directory);
  add_gguf_tokenizer(*model.tokenizer, model.model.decoder->spec().embedding.vocabulary,
                     chat_template ? chat_template->source : "",
                     exports_bos(*model.tokenizer, model.prompt), content.metadata);
  if (!content.other_types.empty()) {
    log_info("{} matrices have rows that are no whole blocks of {} values; they keep more bits",
             content.other_types.size(), format.block_size);
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
  if (a.to == "hf") return convert_to_hf(a);
  const GgmlFormat* format = find_ggml_format(a.type);
  convert_to_gguf(a, *format);
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
                   "Of the matrices in the GGUF file: f32, f16, bf16, q8_0, q4_0 or q4_k")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k"}))
      ->capture_default_str();
  command->add_option("-o,--out", args->out,
                      "Where to write; default: model-TYPE.gguf in the model's directory, or a "
                      "directory named as the .gguf file");
  command->callback([args] { convert(*args); });
}

}  // namespace continuo
