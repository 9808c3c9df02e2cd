// `continuo merge`: an adapter and its base become one model directory.
#include <cmath>

#include <CLI/CLI.hpp>

#include "app/experiment.h"
#include "app/model_directory.h"
#include "cli/commands.h"
#include "core/files.h"
#include "core/log.h"
#include "nn/executor.h"

namespace continuo {

namespace fs = std::filesystem;

namespace {

// ‖W' − W‖ / ‖W‖ over the layers that carry an adapter, where `rounded` gives W'.
template <class Rounded>
double relative_error(const ModelDirectory& m, const Rounded& rounded) {
  double difference = 0, size = 0;
  for (const auto& [place, layer] : m.model.decoder->linear_slots()) {
    if (!layer->adapter) continue;
    const at::Tensor weight = layer->weight.detach().to(at::kFloat);
    difference +=
        (rounded(place, weight) - weight).square().sum(at::kDouble).template item<double>();
    size += weight.square().sum(at::kDouble).template item<double>();
  }
  return size > 0 ? std::sqrt(difference / size) : 0;
}

// An adapter that was trained on rounded weights made up for their rounding.
void warn_of_other_base(const ModelDirectory& m, const std::string& dtype) {
  const std::string& trained = m.adapters.base_weights;
  if (trained.empty()) return;
  const auto executor = make_executor(
      m.model.decoder, {.weights = trained == "q8" ? WeightFormat::q8 : WeightFormat::q4});
  const double before = relative_error(m, [&](const MatrixPlace& place, const at::Tensor& w) {
    return executor->matrix(place).rows(0, w.size(0));
  });
  const double after = relative_error(m, [&](const MatrixPlace&, const at::Tensor& w) {
    return dtype == "bf16" ? w.to(at::kBFloat16).to(at::kFloat) : w;
  });
  log_warning(
      "the adapter was trained on the base in {}, which differs from its weights by {:.2f} %; it "
      "is merged onto the weights in {}, which differ by {:.2f} %. Unmerged and with --weights {} "
      "it computes as it was trained",
      trained, 100 * before, dtype, 100 * after, trained);
}

void merge(const std::string& directory, const std::string& base, const std::string& out,
           const std::string& dtype) {
  if (fs::exists(out) && !(fs::is_directory(out) && fs::is_empty(out))) {
    throw Error(out + " is there already",
                "Choose another directory with --out; nothing is overwritten.");
  }
  ModelDirectory m = open_model_directory(directory, {}, base);
  if (!m.adapter) throw Error(m.path.string() + " is no adapter: there is nothing to merge");
  warn_of_other_base(m, dtype);
  merge_adapters(m.adapters);
  for (at::Tensor& parameter : m.model.decoder->parameters()) {
    if (dtype == "bf16" && parameter.dim() >= 2)
      parameter.set_data(parameter.detach().to(at::kBFloat16));
  }
  const fs::path parent = fs::absolute(out).lexically_normal().parent_path();
  make_directories(parent);
  AtomicDirectory files(fs::path(out).lexically_normal());
  write_model_directory(m.model, *m.tokenizer, m.prompt, files.path(), m.eos);
  // Generation settings of the run, and the template that other tools read.
  for (const char* name : {kExperimentFile, "chat_template.jinja"}) {
    for (const fs::path& from : {m.path, m.base}) {
      if (!fs::exists(from / name) || fs::exists(files / name)) continue;
      if (from == m.base && name == kExperimentFile) continue;
      atomic_write(files / name, read_file(from / name));
    }
  }
  files.commit();
  log_info("{} merged into {}", m.path.string(), m.base.string());
  fmt::print("{}\n", out);
}

}  // namespace

void add_merge_command(CLI::App& app) {
  struct Arguments {
    std::string directory, base, out, dtype = "fp32";
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("merge", "Write an adapter and its base as one model directory");
  command->add_option("adapter", a->directory, "Adapter or run directory")->required();
  command->add_option("--out", a->out, "Directory to write")->required();
  command->add_option("--base", a->base, "Base model, in place of the one that the adapter names");
  command->add_option("--dtype", a->dtype, "Type of the written matrices: fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command->callback([a] { merge(a->directory, a->base, a->out, a->dtype); });
}

}  // namespace continuo
