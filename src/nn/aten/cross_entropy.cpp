#include <ATen/TensorOperators.h>

#include "nn/aten/ops.h"

namespace continuo::aten {

namespace {

// d(Σ factor · loss)/d(logits), float32.
at::Tensor loss_gradient(const at::Tensor& p, const at::Tensor& lse, const at::Tensor& targets,
                         const RowLoss& o) {
  const double vocabulary = static_cast<double>(p.size(1));
  at::Tensor d = p * (1 + 2 * o.z_loss * lse).unsqueeze(1) - o.label_smoothing / vocabulary;
  // Not scatter_add_, which has no order on GPUs.
  const at::Tensor target = targets.unsqueeze(1);
  d.scatter_(1, target, d.gather(1, target) - (1 - o.label_smoothing));
  d.mul_(o.scale);
  if (o.weights.defined()) d.narrow(0, 0, o.weights.size(0)).mul_(o.weights.unsqueeze(1));
  return d;
}

}  // namespace

RowStatistics cross_entropy(at::Tensor& logits, const at::Tensor& targets, const RowLoss& o) {
  const at::Tensor wide = logits.to(at::kFloat);
  const at::Tensor lse = wide.logsumexp(1);
  const at::Tensor logp = wide - lse.unsqueeze(1);
  const at::Tensor p = logp.exp();
  RowStatistics s;
  s.nll = -logp.gather(1, targets.unsqueeze(1)).squeeze(1);
  s.entropy = -(p * logp).sum(1);
  s.correct = wide.argmax(1).eq(targets).to(at::kFloat);
  s.loss =
      (1 - o.label_smoothing) * s.nll - o.label_smoothing * logp.mean(1) + o.z_loss * lse * lse;
  if (o.gradient) logits.copy_(loss_gradient(p, lse, targets, o));
  return s;
}

}  // namespace continuo::aten
