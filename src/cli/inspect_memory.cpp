#include "cli/inspect_memory.h"

#include <fmt/format.h>

#include "app/compute_config.h"
#include "app/model_directory.h"
#include "core/config/keys.h"
#include "core/process.h"
#include "nn/kv_cache.h"

namespace continuo {

namespace {

void print_line(const std::string& what, const std::string& form, double bytes) {
  fmt::print("{:<44} {:<18} {:>10.1f} MB\n", what, form, bytes / 1e6);
}

std::string_view cache_form(KVFormat format) {
  return format == KVFormat::f32 ? "fp32" : format == KVFormat::bf16 ? "bf16" : "q8";
}

}  // namespace

void inspect_memory(const std::string& path, const std::vector<std::string>& overrides) {
  ConfigNode root;
  for (const std::string& assignment : overrides) apply_override(root, assignment);
  ComputeConfig config;
  Problems problems;
  load_config(root, config, problems);
  problems.raise();
  const Compute compute = start_compute(config);

  const double empty = resident_memory_bytes();
  auto tokenizer = load_model_tokenizer(resolve_model_directory(path));
  return_freed_memory();
  const double tokenizer_bytes = resident_memory_bytes() - empty;
  tokenizer.reset();
  const ModelDirectory m = open_model_directory(
      path, {.device = compute.device, .dtype = compute.dtype, .held = Held::stored});
  const ServedModel served = serve_model(m.model.decoder, compute.executor);

  fmt::print("{}, served by {}\n\n", m.path.string(), served.executor->description());
  double weights = 0;
  for (const HeldWeights& held : served.executor->held_weights()) {
    print_line(held.what, held.form, static_cast<double>(held.bytes));
    weights += static_cast<double>(held.bytes);
  }
  print_line("weights in all", "", weights);
  const ModelSpec& spec = served.executor->spec();
  const KVFormat cache = cache_format(served.executor->options());
  const std::vector<LayerCache> layout = cache_layout(spec, cache);
  const std::string form(cache_form(cache));
  print_line("cache of a sequence of 256 tokens", form, cache_bytes(layout, 256));
  const auto context = static_cast<double>(spec.context);
  print_line(fmt::format("cache of a sequence of {} tokens", spec.context), form,
             cache_bytes(layout, context));
  print_line("tokenizer", "", tokenizer_bytes);
  print_line("program and its libraries", "", empty);
  print_line("resident now", "", resident_memory_bytes());
  print_line("resident at most", "", peak_memory_bytes());
}

}  // namespace continuo
