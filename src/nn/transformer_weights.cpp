// What a Transformer's weights are: where they lie, how they come there, and what executors see.
#include <algorithm>
#include <cmath>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/normal.h>
#include <c10/core/GradMode.h>

#include "core/hash.h"
#include "nn/transformer.h"
#include "nn/unset_parameter.h"
#include "nn/upload.h"

namespace continuo {

namespace {

// What random weights are a function of, besides names and shapes. Outlives the model in whoever
// reads stored matrices of it.
struct Initial {
  int64_t seed, layers;
  bool plus_one;  // what one-dimensional parameters of such norms store is the factor less one

  at::Tensor values(const std::string& name, at::IntArrayRef sizes) const {
    if (sizes.size() < 2)
      return at::full(sizes, name.ends_with("bias") || plus_one ? 0.0 : 1.0, at::kFloat);
    constexpr double kStd = 0.02;
    const double into_residual = kStd / std::sqrt(2.0 * static_cast<double>(layers));
    // A generator per parameter: adding a layer leaves the others' draws as they are.
    const uint64_t key =
        static_cast<uint64_t>(seed) ^ std::stoull(hash_bytes(name).substr(0, 16), nullptr, 16);
    const at::Generator generator = at::detail::createCPUGenerator(key);
    const bool projection = name.ends_with("output.weight") || name.ends_with("down.weight");
    return at::normal(0.0, projection ? into_residual : kStd, sizes, generator);
  }

  void set(const std::string& name, const at::Tensor& parameter) const {
    allocate_unset(parameter);
    parameter.copy_(values(name, parameter.sizes()));
  }
};

}  // namespace

ModelWeights Transformer::weights() const {
  const auto norm = [](const Norm& n) -> NormWeights {
    if (!n) return {};
    const at::Tensor factor = n->weight.detach();
    return {n->spec.plus_one ? factor + 1 : factor, n->bias};
  };
  const auto matrix = [](const WeightMatrix& stored, const at::Tensor& parameter) {
    return stored.defined() ? stored : WeightMatrix(parameter);
  };
  const WeightMatrix embedding = matrix(stored_embedding_, embedding_);
  const bool tied = !head_.defined();
  ModelWeights weights = {.embedding = tied ? WeightMatrix() : embedding,
                          .positions = positions_,
                          .blocks = {},
                          .matrices = {},
                          .norm = norm(norm_),
                          .head = tied ? embedding : matrix(stored_head_, head_)};
  for (const Block& block : blocks_) {
    BlockWeights& w = weights.blocks.emplace_back();
    w.mixer_norm = norm(block->attention_norm);
    w.mixer_post_norm = norm(block->attention_post_norm);
    w.mlp_norm = norm(block->mlp_norm);
    w.mlp_post_norm = norm(block->mlp_post_norm);
    if (block->attention) {
      w.query_norm = norm(block->attention->query_norm);
      w.key_norm = norm(block->attention->key_norm);
    } else {
      w.kernel = block->convolution->kernel;
      w.kernel_bias = block->convolution->bias;
    }
  }
  for (const auto& [place, layer] : linear_slots())
    weights.matrices[place] = {layer->matrix(), layer->bias};
  return weights;
}

std::map<std::string, WeightMatrix*> Transformer::stored_matrices() {
  std::map<std::string, WeightMatrix*> matrices = {{"embedding", &stored_embedding_}};
  if (head_.defined()) matrices["head"] = &stored_head_;
  for (const auto& item : named_modules()) {
    if (auto* layer = dynamic_cast<LinearImpl*>(item.value().get()))
      matrices[item.key() + ".weight"] = &layer->stored;
  }
  return matrices;
}

void Transformer::read_stored(const std::vector<at::Tensor>& parameters,
                              std::optional<at::ScalarType> dtype) {
  const c10::NoGradGuard no_grad;
  auto named = named_parameters();
  for (const auto& [name, stored] : stored_matrices()) {
    at::Tensor& parameter = named[name];
    const auto is_it = [&](const at::Tensor& p) { return p.is_same(parameter); };
    if (!stored->defined() || std::ranges::none_of(parameters, is_it)) continue;
    const at::Tensor rows = stored->rows(0, stored->out());
    const at::Tensor read = rows.to(dtype.value_or(rows.scalar_type())).contiguous();
    const at::Tensor there = upload(read, parameter.device());
    parameter.set_data(there.is_alias_of(rows) ? there.clone() : there);
    *stored = {};
  }
}

std::vector<Transformer::LinearSlot> Transformer::linear_slots() const {
  std::vector<LinearSlot> slots;
  for (int64_t i = 0; i < std::ssize(blocks_); ++i) {
    const auto add = [&](Matrix matrix, const Linear& layer, int64_t expert = 0) {
      if (layer) slots.push_back({{i, matrix, expert}, layer.ptr().get()});
    };
    const auto add_mlp = [&](const Mlp& mlp, int64_t expert) {
      add(Matrix::gate, mlp->gate, expert);
      add(Matrix::up, mlp->up, expert);
      add(Matrix::down, mlp->down, expert);
    };
    const BlockImpl& block = *blocks_[i];
    if (const Attention& a = block.attention) {
      add(Matrix::query, a->query);
      add(Matrix::key, a->key);
      add(Matrix::value, a->value);
      add(Matrix::output, a->output);
    } else {
      add(Matrix::convolve_in, block.convolution->in);
      add(Matrix::convolve_out, block.convolution->output);
    }
    if (block.mlp) {
      add_mlp(block.mlp, 0);
      continue;
    }
    add(Matrix::router, block.mixture->router);
    for (size_t e = 0; e < block.mixture->experts.size(); ++e)
      add_mlp(block.mixture->experts[e], static_cast<int64_t>(e));
  }
  return slots;
}

std::optional<AdapterWeights> Transformer::adapter_weights() const {
  std::optional<AdapterWeights> adapters;
  for (const auto& [place, layer] : linear_slots()) {
    if (!layer->adapter) continue;
    if (!adapters) adapters.emplace();
    adapters->emplace(place, layer->adapter->low_rank(*layer));
  }
  return adapters;
}

void Transformer::initialise(int64_t seed) {
  const c10::NoGradGuard no_grad;
  const Initial initial = {seed, spec_.layers(), spec_.norm.plus_one};
  for (const auto& item : named_parameters()) initial.set(item.key(), item.value());
}

void Transformer::initialise_when_read(int64_t seed, at::Device device) {
  const c10::NoGradGuard no_grad;
  const Initial initial = {seed, spec_.layers(), spec_.norm.plus_one};
  const auto matrices = stored_matrices();
  for (const auto& item : named_parameters()) {
    const std::string& name = item.key();
    const auto matrix = matrices.find(name);
    if (matrix == matrices.end()) {
      initial.set(name, item.value());
      item.value().set_data(item.value().to(device));
      continue;
    }
    item.value().set_data(unset_parameter(item.value().sizes(), device));
    const std::vector<int64_t> sizes = item.value().sizes().vec();
    const auto rows = [initial, name, sizes](int64_t begin, int64_t end) {
      return initial.values(name, sizes).narrow(0, begin, end - begin);
    };
    *matrix->second = WeightMatrix(sizes[0], sizes[1], rows);
  }
}

}  // namespace continuo
