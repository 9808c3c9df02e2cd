#include "train/batch_loss.h"

namespace continuo {

LossResult batch_loss(Decoder& decoder, const Batch& batch, double scale, const LossOptions& options) {
  const at::Tensor head = decoder.head_weight();
  const at::Device device = head.device();
  const at::Tensor supervised = batch.targets.ne(kIgnoredTarget).nonzero().squeeze(1);
  const at::Tensor hidden =
      decoder.forward({batch.tokens.to(device), batch.positions.to(device), batch.boundaries});
  LossOptions with_cap = options;
  with_cap.logit_softcap = decoder.logit_softcap();
  return lm_loss(hidden.index_select(0, supervised.to(device)), head,
                 decoder.head_cast(hidden.scalar_type()),
                 batch.targets.index_select(0, supervised).to(device), scale, with_cap);
}

}  // namespace continuo
