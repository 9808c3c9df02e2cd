#include "models/store/model.h"

#include <algorithm>
#include <map>
#include <set>

#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/log.h"
#include "io/model_tensors.h"
#include "models/families/config_reader.h"
#include "models/store/gguf_checkpoint.h"
#include "nn/unset_parameter.h"

namespace continuo {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::string shape_text(at::IntArrayRef shape) {
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

// Points the parameter at the tensor (dtype and device as asked), keeping its identity in the
// module.
void assign(at::Tensor parameter, const at::Tensor& tensor, const LoadOptions& options) {
  const bool narrow =
      tensor.is_floating_point() && tensor.itemsize() < c10::elementSize(options.dtype);
  const at::ScalarType dtype = tensor.dim() < 2                         ? at::kFloat
                               : narrow && options.held == Held::stored ? tensor.scalar_type()
                                                                        : options.dtype;
  at::Tensor value = tensor.to(at::TensorOptions(dtype).device(options.device));
  if (options.held != Held::mapped && value.is_alias_of(tensor)) value = value.clone();
  parameter.set_data(value);
}

// Nothing for blocks that executors only take decoded.
std::optional<BlockFormat> block_format(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_0:
      return BlockFormat::q4_0;
    case GgmlType::kQ4_1:
      return BlockFormat::q4_1;
    case GgmlType::kQ5_0:
      return BlockFormat::q5_0;
    case GgmlType::kQ5_1:
      return BlockFormat::q5_1;
    case GgmlType::kQ8_0:
      return BlockFormat::q8_0;
    case GgmlType::kQ4_K:
      return BlockFormat::q4_k;
    case GgmlType::kQ5_K:
      return BlockFormat::q5_k;
    case GgmlType::kQ6_K:
      return BlockFormat::q6_k;
    default:
      return std::nullopt;
  }
}

// The rows of a parameter of this shape out of the stored tensor that holds it.
WeightMatrix matrix_of(const StoredTensor& stored, const Placement& place,
                       const std::vector<int64_t>& shape) {
  const int64_t out = shape[0], in = shape[1];
  if (place.transposed || place.blocks > 1) {
    const auto make = [stored, place, shape] {
      return place.part(stored.rows(0, stored.shape[0]), shape).reshape(shape);
    };
    return {out, in, rows_of_whole(make, out)};
  }
  const auto below = [above = place.width > 0 ? place.begin : 0](const WeightMatrix::Rows& rows) {
    return [rows, above](int64_t begin, int64_t end) { return rows(above + begin, above + end); };
  };
  std::optional<WeightMatrix::BlockRows> blocks;
  if (stored.blocks) {
    if (const auto format = block_format(stored.blocks->type))
      blocks = {*format, below(stored.blocks->rows)};
  }
  return {out, in, below(stored.rows), std::move(blocks)};
}

// Some checkpoints hold the names without the architecture's first component ("wte.weight", GPT-2
// on the hub).
void complete_names(const Family& family, StoredTensors& tensors) {
  const std::string embedding = family.checkpoint_name("embedding");
  const std::string base = embedding.substr(0, embedding.find('.') + 1);
  if (tensors.contains(embedding) || !tensors.contains(embedding.substr(base.size()))) return;
  const std::string head = family.checkpoint_name("head");
  StoredTensors complete;
  for (auto& [name, tensor] : tensors)
    complete[name == head ? name : base + name] = std::move(tensor);
  tensors = std::move(complete);
}

// Buffers that some exporters add and a tied head are no parameters of ours.
bool harmless_tensor(const Model& model, const std::string& name) {
  for (const char* buffer : {"rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias",
                             ".attention.bias", ".attention.masked_bias"}) {
    if (name.ends_with(buffer)) return true;
  }
  return model.decoder->spec().head.tied && name == model.family->checkpoint_name("head");
}

void load_weights(const Model& model, StoredTensors tensors, const fs::path& directory,
                  const LoadOptions& options) {
  const c10::NoGradGuard no_grad;
  complete_names(*model.family, tensors);
  const std::map<std::string, WeightMatrix*> matrices = model.decoder->stored_matrices();
  std::set<std::string> used;
  for (const auto& item : model.decoder->named_parameters()) {
    const std::string name = model.family->checkpoint_name(item.key());
    const Placement place = model.family->place(item.key(), model.decoder->spec());
    const auto found = tensors.find(name);
    if (found == tensors.end())
      throw Error(Location{.file = directory.string()}, "tensor '" + name + "' is missing");
    const StoredTensor& stored = found->second;
    const std::vector<int64_t> shape = item.value().sizes().vec(),
                               expected = place.stored_shape(shape);
    if (stored.shape != expected) {
      throw Error(Location{.file = directory.string()},
                  fmt::format("tensor '{}' has shape {}, config.json asks for {}", name,
                              shape_text(stored.shape), shape_text(expected)));
    }
    used.insert(name);
    if (options.held == Held::nowhere) continue;
    const auto matrix = matrices.find(item.key());
    if (options.held == Held::stored && matrix != matrices.end()) {
      *matrix->second = matrix_of(stored, place, shape);
      item.value().set_data(unset_parameter(shape, options.device));
      continue;
    }
    const at::Tensor part = place.part(stored.whole(), shape);
    assign(item.value(), part.reshape(shape).contiguous(), options);
  }
  for (const auto& entry : tensors) {
    const std::string& name = entry.first;
    if (!used.contains(name) && !harmless_tensor(model, name)) {
      throw Error(Location{.file = directory.string()},
                  "tensor '" + name + "' belongs to no parameter of this model",
                  "Is config.json the one of these weights?");
    }
  }
}

// A spec of Llama's kind, its MLPs still without a width.
ModelSpec shape_of(const ModelConfig& c, int64_t vocabulary) {
  const int64_t dim = c.head_dim ? c.head_dim : c.hidden / c.heads;
  const NormSpec norm = {.epsilon = c.norm_epsilon};
  const BlockSpec block = {.norm = norm,
                           .mixer = Attend{.heads = c.heads,
                                           .kv_heads = c.kv_heads ? c.kv_heads : c.heads,
                                           .dim = dim,
                                           .rotary = Rotary{.dim = dim, .theta = c.rope_theta}}};
  return {.context = c.context,
          .embedding = {.vocabulary = vocabulary, .hidden = c.hidden},
          .blocks = std::vector<BlockSpec>(c.layers, block),
          .norm = norm,
          .head = {.tied = c.tie_embeddings}};
}

}  // namespace

Model outline_model(const ModelConfig& c, int64_t vocabulary) {
  const Family* family = find_family(c.family);
  if (!family) throw Error("unknown model family '" + c.family + "'", known_families());
  ModelSpec spec = shape_of(c, vocabulary);
  if (family->specialise) family->specialise(spec);
  for (BlockSpec& block : spec.blocks) {
    Dense& mlp = block.dense();
    // Two matrices of an ungated MLP hold what three of a gated one do.
    const int64_t width = mlp.gated ? (c.hidden * 8 / 3 + 63) / 64 * 64 : 4 * c.hidden;
    mlp.width = c.intermediate ? c.intermediate : width;
  }
  if (family->read_config(family->write_config(spec), "config.json") != spec) {
    throw Error("model: the family '" + c.family + "' has no model of this shape",
                "Leave kv_heads and head_dim at 0, or choose another family.");
  }
  return {family, std::make_shared<Transformer>(spec)};
}

Model make_model(const ModelConfig& c, int64_t vocabulary, at::Device device, Held held) {
  Model model = outline_model(c, vocabulary);
  if (held == Held::stored) {
    model.decoder->initialise_when_read(c.seed, device);
    return model;
  }
  model.decoder->initialise(c.seed);
  model.decoder->to(device);
  return model;
}

namespace {

// `file` stands for config.json in errors, `place` for the weights.
Model build_model(const json& config, const fs::path& file, StoredTensors tensors,
                  const fs::path& place, const LoadOptions& options) {
  const std::string type = ConfigReader(config, file).text("model_type", "");
  const Family* family = find_family(type);
  if (!family)
    throw Error(Location{.file = file.string()}, "model_type '" + type + "' is not supported",
                known_families());
  Model model{family, std::make_shared<Transformer>(family->read_config(config, file))};
  load_weights(model, std::move(tensors), place, options);
  log_debug("{}: a model of the family {}, {} layers of width {}", place.string(), family->name,
            model.decoder->spec().layers(), model.decoder->spec().embedding.hidden);
  return model;
}

}  // namespace

bool is_gguf_file(const fs::path& path) {
  return path.extension() == ".gguf" && fs::is_regular_file(path);
}

bool is_quantised_file(const fs::path& path) {
  if (!is_gguf_file(path)) return false;
  const StoredTensors tensors = read_gguf_checkpoint(GgufFile(path)).tensors;
  return std::ranges::any_of(tensors, [](const auto& t) { return t.second.blocks.has_value(); });
}

Model load_model(const fs::path& directory, const LoadOptions& options) {
  if (is_gguf_file(directory)) {
    GgufCheckpoint checkpoint = read_gguf_checkpoint(GgufFile(directory));
    return build_model(checkpoint.config, directory, std::move(checkpoint.tensors), directory,
                       options);
  }
  const fs::path file = directory / "config.json";
  if (!fs::exists(file)) {
    throw Error(
        Location{.file = directory.string()}, "is not a model directory: it has no config.json",
        "Give the directory of a checkpoint, for example runs/quickstart/checkpoints/best.");
  }
  return build_model(read_json(file), file, open_model_tensors(directory), directory, options);
}

NamedEosIds read_eos_ids(const fs::path& directory) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    const fs::path file = directory / name;
    if (!fs::exists(file)) continue;
    const json config = read_json(file);
    ConfigReader keys(config, file);
    if (keys.has("eos_token_id")) return {keys.ids("eos_token_id"), file};
  }
  return {};
}

int64_t count_parameters(const torch::nn::Module& module) {
  int64_t total = 0;
  for (const at::Tensor& parameter : module.parameters()) total += parameter.numel();
  return total;
}

}  // namespace continuo
