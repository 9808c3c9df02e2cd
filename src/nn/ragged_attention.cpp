#include "nn/ragged_attention.h"

#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// What the backward pass needs besides tensors.
struct AttendPlan : torch::CustomClassHolder {
  std::vector<int64_t> boundaries;
  AttendOptions options;
  at::Tensor offsets;

  AttendInput of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const {
    return {q, k, v, boundaries, options, offsets};
  }
};

struct AttendDocuments : torch::autograd::Function<AttendDocuments> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const c10::intrusive_ptr<AttendPlan>& plan) {
    const AttendValues values = backend_of(q).attend.forward(plan->of(q, k, v));
    ctx->save_for_backward({q, k, v, values.out, values.lse});
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    return values.out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const auto plan =
        c10::static_intrusive_pointer_cast<AttendPlan>(ctx->saved_data["plan"].toCapsule());
    const AttendGradients g = backend_of(saved[0]).attend.backward(
        plan->of(saved[0], saved[1], saved[2]), {saved[3], saved[4]}, gradients[0].contiguous());
    return {g.q, g.k, g.v, at::Tensor()};
  }
};

void check_documents(const std::vector<int64_t>& boundaries) {
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    if (boundaries[d] >= boundaries[d + 1]) fail("document {} of the ragged batch is empty", d);
  }
}

}  // namespace

at::Tensor ragged_attention(const AttendInput& in) {
  check_documents(in.boundaries);
  const auto plan = c10::make_intrusive<AttendPlan>();
  plan->boundaries = in.boundaries;
  plan->options = in.options;
  plan->offsets = in.offsets;
  return AttendDocuments::apply(in.q.contiguous(), in.k.contiguous(), in.v.contiguous(), plan);
}

at::Tensor cached_attention(AttendInput input, const CachedSequences& cached, int64_t layer) {
  check_documents(input.boundaries);
  if (std::ssize(cached.ids) + 1 != std::ssize(input.boundaries)) {
    fail("{} cached sequences for {} documents", cached.ids.size(), input.boundaries.size() - 1);
  }
  for (at::Tensor* tensor : {&input.q, &input.k, &input.v}) *tensor = tensor->contiguous();
  return backend_of(input.q).cache.attend(input, cached, layer);
}

}  // namespace continuo
