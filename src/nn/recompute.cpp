#include "nn/recompute.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

struct FunctionHolder : torch::CustomClassHolder {
  explicit FunctionHolder(TensorFunction function) : f(std::move(function)) {}
  TensorFunction f;
};

struct Recompute : torch::autograd::Function<Recompute> {
  static variable_list forward(AutogradContext* ctx,
                               const c10::intrusive_ptr<FunctionHolder>& holder,
                               at::TensorList inputs) {
    ctx->saved_data["f"] = c10::IValue::make_capsule(holder);
    ctx->save_for_backward(inputs.vec());
    ctx->set_materialize_grads(false);
    const c10::NoGradGuard no_grad;
    return holder->f(inputs.vec());
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto capsule = ctx->saved_data["f"].toCapsule();
    const TensorFunction& f = static_cast<FunctionHolder*>(capsule.get())->f;
    variable_list inputs = ctx->get_saved_variables();
    for (at::Tensor& input : inputs) {
      if (input.defined())
        input = input.detach().set_requires_grad(at::isFloatingType(input.scalar_type()));
    }
    variable_list outputs, known;
    {
      const c10::AutoGradMode grad(true);
      const std::vector<at::Tensor> all = f(inputs);
      for (size_t i = 0; i < all.size(); ++i) {
        if (!gradients[i].defined() || !all[i].requires_grad()) continue;
        outputs.push_back(all[i]);
        known.push_back(gradients[i]);
      }
    }
    torch::autograd::backward(outputs, known);
    variable_list result = {at::Tensor()};  // for the holder
    for (const at::Tensor& input : inputs)
      result.push_back(input.defined() ? input.grad() : at::Tensor());
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> recompute(const TensorFunction& f, const std::vector<at::Tensor>& inputs) {
  if (!c10::GradMode::is_enabled()) return f(inputs);
  return Recompute::apply(c10::make_intrusive<FunctionHolder>(f), at::TensorList(inputs));
}

}  // namespace continuo
