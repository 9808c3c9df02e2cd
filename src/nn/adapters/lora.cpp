#include "nn/adapters/lora.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/backend.h"
#include "nn/kept_weight.h"
#include "nn/optional_tensor.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// What a pass computes with, besides the tensors that get gradients. The backward pass keeps it, so
// it holds nothing that dies with the adapter.
struct LoraPlan : torch::CustomClassHolder {
  double scaling = 1;
  std::optional<RemadeInput> input;  // nothing: `first` is the input
  std::optional<Dropout> dropout;
  std::shared_ptr<const DropoutPass> pass;
};

// In the compute dtype; magnitude and norms float32, undefined without DoRA. They go into a pass
// beside the plan, which would hold them longer than the backward pass needs them.
struct LoraWeights {
  ProductWeight base;
  at::Tensor bias, a, b, magnitude, norms;
};

struct LoraValues {
  at::Tensor y;     // [N, out]
  at::Tensor down;  // [N, rank] input·Aᵀ
  at::Tensor sum;   // [N, out] with DoRA: what the magnitudes scale
};

at::Tensor input_of(const LoraPlan& plan, const at::Tensor& first, const at::Tensor& second) {
  return plan.input ? plan.input->make(first, second) : first;
}

at::Tensor mask_of(const LoraPlan& plan, const at::Tensor& x) {
  return plan.dropout->mask(*plan.pass, x.size(0), x.size(1), x.options().requires_grad(false));
}

at::Tensor bare_product(const at::Tensor& x, const at::Tensor& weight) {
  return backend_of(x).products.nt(x, weight);
}

// x·Wᵀ + s·down·Bᵀ. The small term comes first: the large product is then added to it before
// anything is rounded. The other way round bfloat16 loses what is below half a unit of the large
// one, three quarters of an adapter's first steps.
at::Tensor sum_of_products(const LoraPlan& plan, const LoraWeights& w, const at::Tensor& x,
                           const at::Tensor& down, const at::Tensor& base) {
  const ProductOps& products = backend_of(x).products;
  at::Tensor y = products.nt(down * plan.scaling, w.b);
  products.add_nt(y, x, base);
  return y;
}

// Computes the values; autograd must be off.
LoraValues lora_forward(const LoraPlan& plan, const LoraWeights& w, const at::Tensor& x) {
  LoraValues v;
  const at::Tensor dropped = plan.dropout ? x * mask_of(plan, x) : x;
  v.down = bare_product(dropped, w.a);
  const at::Tensor base = w.base.values(x.scalar_type());
  if (!w.magnitude.defined()) {
    v.y = sum_of_products(plan, w, x, v.down, base);
    if (w.bias.defined()) v.y.add_(w.bias);
    return v;
  }
  v.sum = sum_of_products(plan, w, dropped, v.down, base);
  at::Tensor y = v.sum * (w.magnitude / w.norms);  // float32
  // As in PEFT the base sees its input whole: only what the adapter changes is subject to dropout.
  if (plan.dropout) y.add_(bare_product(x, base)).sub_(bare_product(dropped, base));
  if (w.bias.defined()) y.add_(w.bias);
  v.y = y.to(x.scalar_type());
  return v;
}

// The trained tensors, A, B and with DoRA the magnitudes, are arguments for their gradients alone:
// the products take A and B in the compute dtype, from the weights.
struct LoraLinear : torch::autograd::Function<LoraLinear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& first,
                            const std::optional<at::Tensor>& second, at::TensorList,
                            const LoraWeights& w, const c10::intrusive_ptr<LoraPlan>& kept) {
    const LoraPlan& plan = *kept;
    const at::Tensor other = second.value_or(at::Tensor());
    const LoraValues v = lora_forward(plan, w, input_of(plan, first, other));
    ctx->save_for_backward({first, other, w.a, w.b, v.down, v.sum, w.magnitude, w.norms});
    keep_weight(ctx, w.base);
    ctx->saved_data["plan"] = c10::IValue::make_capsule(kept);
    ctx->saved_data["needs_input"] = first.requires_grad() || other.requires_grad();
    return v.y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &first = saved[0], &second = saved[1], &cast_a = saved[2], &cast_b = saved[3];
    const at::Tensor &down = saved[4], &sum = saved[5], &magnitude = saved[6], &norms = saved[7];
    const auto kept =
        c10::static_intrusive_pointer_cast<LoraPlan>(ctx->saved_data["plan"].toCapsule());
    const LoraPlan& plan = *kept;
    const at::Tensor dy = gradients[0].contiguous();
    const at::Tensor x = input_of(plan, first, second);
    const at::Tensor mask = plan.dropout ? mask_of(plan, x) : at::Tensor();

    const ProductOps& products = backend_of(dy).products;
    at::Tensor dmagnitude, dsum = dy;
    if (magnitude.defined()) {
      dmagnitude = (dy.to(at::kFloat) * sum).sum(0).div_(norms);
      dsum = (dy * (magnitude / norms)).to(dy.scalar_type());
    }
    const at::Tensor ddown = products.nn(dsum, cast_b).mul_(plan.scaling);
    const at::Tensor da = products.tn(ddown, mask.defined() ? x * mask : x, at::kFloat);
    const at::Tensor db = products.tn(dsum, down, at::kFloat).mul_(plan.scaling);
    variable_list result = {{}, {}, da, db};
    if (magnitude.defined()) result.push_back(dmagnitude);
    result.resize(result.size() + 2);  // weights and plan
    if (!ctx->saved_data["needs_input"].toBool()) return result;

    const at::Tensor base = kept_weight(ctx).values(dy.scalar_type());
    at::Tensor dx;
    if (!mask.defined()) {
      dx = products.nn(ddown, cast_a);
      products.add_nn(dx, dsum, base);
    } else {
      at::Tensor ddropped = products.nn(ddown, cast_a);
      if (magnitude.defined()) products.add_nn(ddropped, dsum - dy, base);
      dx = products.nn(dy, base).addcmul_(ddropped, mask);
    }
    if (plan.input) {
      std::tie(result[0], result[1]) = plan.input->backward(dx, first, second);
    } else {
      result[0] = dx;
    }
    return result;
  }
};

}  // namespace

double LoraOptions::scaling() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rslora ? std::sqrt(r) : r);
}

LoraAdapter::LoraAdapter(LinearImpl& base, const LoraOptions& options, uint64_t seed,
                         const std::string& layer, std::shared_ptr<const DropoutPass> pass)
    : options_(options),
      seed_(seed),
      layer_(layer),
      pass_(std::move(pass)),
      dropout_(options.dropout, seed, layer) {
  const c10::NoGradGuard no_grad;
  const at::TensorOptions place = at::TensorOptions(at::kFloat).device(base.weight.device());
  a_ = at::zeros({options.rank, base.weight.size(1)}, place);
  b_ = at::zeros({base.weight.size(0), options.rank}, place);
  if (options.dora) magnitude_ = row_norms(base).clone();
  for (at::Tensor* tensor : {&a_, &b_, &magnitude_}) {
    if (tensor->defined()) tensor->set_requires_grad(true);
  }
}

void LoraAdapter::initialise() {
  const c10::NoGradGuard no_grad;
  const Random random(seed_, "lora " + layer_);
  const double bound = 1 / std::sqrt(static_cast<double>(a_.size(1)));
  at::Tensor drawn = at::empty(a_.sizes(), at::TensorOptions(at::kFloat));
  for (int64_t i = 0; i < drawn.numel(); ++i) {
    drawn.data_ptr<float>()[i] =
        static_cast<float>(bound * (2 * random.uniform(static_cast<uint64_t>(i)) - 1));
  }
  a_.copy_(drawn);
  b_.zero_();
}

const at::Tensor& LoraAdapter::row_norms(const LinearImpl& base) {
  const std::pair<uint32_t, uint32_t> versions = {a_._version(), b_._version()};
  if (norms_.defined() && norms_of_ == versions) return norms_;
  const c10::NoGradGuard no_grad;
  const at::Tensor wide = base.matrix().rows(0, b_.size(0)).to(b_.device(), at::kFloat);
  if (!base_squares_.defined()) base_squares_ = wide.square().sum(1);
  // ‖w + s·bA‖² = ‖w‖² + 2s·b·(A·w) + s²·b·(A·Aᵀ)·b: nothing of the weight's size is made.
  const double s = options_.scaling();
  const at::Tensor a = a_.detach(), b = b_.detach();
  const at::Tensor cross = (at::mm(wide, a.t()) * b).sum(1);
  const at::Tensor square = (at::mm(b, at::mm(a, a.t())) * b).sum(1);
  norms_ = (base_squares_ + 2 * s * cross + s * s * square).clamp_min_(0).sqrt_();
  norms_of_ = versions;
  return norms_;
}

at::Tensor LoraAdapter::run(LinearImpl& base, const at::Tensor& first, const at::Tensor& second,
                            const RemadeInput* input) {
  const at::ScalarType dtype = first.scalar_type();
  const bool drops = dropout_.drops() && pass_ && pass_->active();
  const auto plan = c10::make_intrusive<LoraPlan>();
  plan->scaling = options_.scaling();
  if (input) plan->input = *input;
  if (drops) plan->dropout = dropout_;
  plan->pass = pass_;
  const at::Tensor norms = options_.dora ? row_norms(base) : at::Tensor();
  const LoraWeights weights = {.base = base.product_weight(dtype),
                               .bias = base.bias,
                               .a = cast_a_.get(a_, dtype),
                               .b = cast_b_.get(b_, dtype),
                               .magnitude = magnitude_,
                               .norms = norms};
  if (!c10::GradMode::is_enabled()) {
    return lora_forward(*plan, weights, input_of(*plan, first, second)).y;
  }
  std::vector<at::Tensor> trained = {a_, b_};
  if (magnitude_.defined()) trained.push_back(magnitude_);
  return LoraLinear::apply(first, optional_tensor(second), at::TensorList(trained), weights, plan);
}

at::Tensor LoraAdapter::forward(LinearImpl& base, const at::Tensor& x) {
  return run(base, x, {}, nullptr);
}

at::Tensor LoraAdapter::forward(LinearImpl& base, const at::Tensor& first, const at::Tensor& second,
                                const RemadeInput& input) {
  return run(base, first, second, &input);
}

LowRank LoraAdapter::low_rank(const LinearImpl& base) {
  const c10::NoGradGuard no_grad;
  return {.a = a_.detach(),
          .b = b_.detach(),
          .scale = options_.scaling(),
          .factor = options_.dora ? magnitude_.detach() / row_norms(base) : at::Tensor()};
}

std::vector<std::pair<std::string, at::Tensor>> LoraAdapter::parameters() const {
  std::vector<std::pair<std::string, at::Tensor>> named = {{"lora_A.weight", a_},
                                                           {"lora_B.weight", b_}};
  if (options_.dora) named.emplace_back("lora_magnitude_vector", magnitude_);
  return named;
}

}  // namespace continuo
