#include "train/supervised.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include "nn/upload.h"

namespace continuo {

namespace {

// Where the device wants products of few different shapes, a last document of padding, which nobody
// looks at and which gets no gradient, makes them few.
RaggedInput model_input(const Batch& batch, at::Device device, at::ScalarType dtype) {
  const int64_t rows = batch.tokens.size(0);
  const int64_t padding = padding_rows(rows, device, dtype);
  RaggedInput input{batch.tokens, batch.positions, batch.boundaries};
  if (padding > 0) {
    input.tokens = at::cat({batch.tokens, at::zeros({padding}, batch.tokens.options())});
    input.positions = at::cat({batch.positions, at::arange(padding, batch.positions.options())});
    input.boundaries.push_back(rows + padding);
  }
  input.tokens = upload(input.tokens, device);
  input.positions = upload(input.positions, device);
  return input;
}

std::vector<int64_t> supervised_boundaries(const Batch& batch) {
  const int64_t* target = batch.targets.const_data_ptr<int64_t>();
  std::vector<int64_t> boundaries = {0};
  int64_t count = 0;
  for (size_t d = 1; d < batch.boundaries.size(); ++d) {
    for (int64_t i = batch.boundaries[d - 1]; i < batch.boundaries[d]; ++i) {
      count += target[i] != kIgnoredTarget;
    }
    boundaries.push_back(count);
  }
  return boundaries;
}

}  // namespace

Supervised supervised_rows(Decoder& decoder, const Batch& batch) {
  const at::ScalarType dtype = decoder.compute().dtype;
  Supervised result;
  const at::Device device = decoder.device();
  const at::Tensor rows = batch.targets.ne(kIgnoredTarget).nonzero().squeeze(1);
  const at::Tensor hidden = decoder.forward(model_input(batch, device, dtype));
  result.head = decoder.head(dtype);  // after the pass, at whose end its weight is there
  result.hidden = hidden.index_select(0, upload(rows, device));
  result.targets = upload(batch.targets.index_select(0, rows), device);
  if (batch.weights.defined()) {
    result.weights = upload(batch.weights.index_select(0, rows), device);
  }
  result.boundaries = supervised_boundaries(batch);
  return result;
}

NllResult token_nll(Decoder& decoder, const Batch& batch) {
  const Supervised s = supervised_rows(decoder, batch);
  return weighted_nll(s.hidden, s.head, s.targets, /*weights=*/{}, {});
}

void idle_pass(Decoder& decoder) {
  const at::Tensor token = at::zeros({1}, at::TensorOptions(at::kLong).device(decoder.device()));
  const at::Tensor hidden =
      decoder.forward({.tokens = token, .positions = token, .boundaries = {0, 1}});
  if (hidden.requires_grad()) (hidden.sum() * 0).backward();
}

}  // namespace continuo
