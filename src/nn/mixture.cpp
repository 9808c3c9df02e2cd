#include "nn/mixture.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>

#include "nn/upload.h"

namespace continuo {

MixtureImpl::MixtureImpl(int64_t hidden, const Experts& spec) {
  const auto& [count, chosen, expert, normalised] = spec;
  chosen_ = chosen;
  normalised_ = normalised;
  router = register_module("router", Linear(hidden, count, false));
  for (int64_t e = 0; e < count; ++e)
    experts.push_back(register_module("experts_" + std::to_string(e), Mlp(hidden, expert)));
}

at::Tensor MixtureImpl::forward(const at::Tensor& x) {
  auto [shares, choice] = at::topk(at::softmax(router(x).to(at::kFloat), 1), chosen_, 1);
  if (normalised_) shares = shares / shares.sum(1, /*keepdim=*/true);
  const at::Tensor host = choice.to(at::kCPU).contiguous(), flat = shares.flatten();
  const int64_t* of = host.const_data_ptr<int64_t>();
  std::vector<std::vector<int64_t>> places(experts.size());  // in `flat`, by expert
  for (int64_t i = 0; i < host.numel(); ++i) places[of[i]].push_back(i);

  at::Tensor sum = at::zeros(x.sizes(), flat.options());
  for (size_t e = 0; e < experts.size(); ++e) {
    if (places[e].empty()) continue;
    const at::Tensor place = index_tensor(places[e], x.device());
    const at::Tensor row = place.floor_divide(chosen_);
    const at::Tensor out = experts[e](x.index_select(0, row)).to(at::kFloat);
    sum.index_add_(0, row, out * flat.index_select(0, place).unsqueeze(1));
  }
  return sum.to(x.scalar_type());
}

}  // namespace continuo
