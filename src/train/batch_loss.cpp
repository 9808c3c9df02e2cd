#include "train/batch_loss.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

namespace continuo {

namespace {

// oneDNN compiles and keeps a bfloat16 product for every number of rows that it meets. A last
// document of padding, which nobody looks at and which gets no gradient, makes these numbers few.
RaggedInput model_input(const Batch& batch, const at::Tensor& head, at::ScalarType dtype) {
  const int64_t rows = batch.tokens.size(0);
  const int64_t padding = padding_rows(rows, head, dtype);
  RaggedInput input{batch.tokens, batch.positions, batch.boundaries};
  if (padding > 0) {
    input.tokens = at::cat({batch.tokens, at::zeros({padding}, batch.tokens.options())});
    input.positions = at::cat({batch.positions, at::arange(padding, batch.positions.options())});
    input.boundaries.push_back(rows + padding);
  }
  input.tokens = input.tokens.to(head.device());
  input.positions = input.positions.to(head.device());
  return input;
}

}  // namespace

LossResult batch_loss(Decoder& decoder, const Batch& batch, double scale,
                      const LossOptions& options) {
  const at::Tensor head = decoder.head_weight();
  const at::Device device = head.device();
  const at::Tensor supervised = batch.targets.ne(kIgnoredTarget).nonzero().squeeze(1);
  const at::Tensor hidden = decoder.forward(model_input(batch, head, decoder.compute().dtype));
  LossOptions with_cap = options;
  with_cap.logit_softcap = decoder.logit_softcap();
  return lm_loss(hidden.index_select(0, supervised.to(device)), head,
                 decoder.head_cast(hidden.scalar_type()),
                 batch.targets.index_select(0, supervised).to(device), scale, with_cap);
}

}  // namespace continuo
