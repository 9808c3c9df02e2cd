#include "nn/aten/backend.h"

#include "nn/aten/ops.h"

namespace continuo {

namespace {

int64_t any_rows(at::ScalarType) { return 1; }

std::string modules_of_training() {
  return "modules of training, as this device has no engine: fp32, bf16, q8 or q4 weights";
}

}  // namespace

const Backend& aten_backend() {
  static const Backend kBackend = {
      .name = "aten",
      .products = {.nt = aten::product_nt,
                   .nn = aten::product_nn,
                   .tn = aten::product_tn,
                   .add_nt = aten::add_product_nt,
                   .add_nn = aten::add_product_nn,
                   .add_tn = aten::add_product_tn,
                   .row_multiple = any_rows},
      .quantised = {.product = aten::quantised_product,
                    .values = aten::quantised_values,
                    .pack = nullptr},
      .norm = {.forward = aten::norm, .backward = aten::norm_backward},
      .rotate = {.rotate = aten::rotate},
      .gate = {.forward = aten::gate, .backward = aten::gate_backward},
      .attend = {.forward = aten::attend, .backward = aten::attend_backward},
      .cache = {.make = aten::make_cache, .attend = aten::attend_cached, .recall = aten::recall},
      .loss = {.cross_entropy = aten::cross_entropy},
      .dropout = {.mask = aten::dropout_mask},
      .executor = modules_of_training,
      .make_executor = aten::make_executor};
  return kBackend;
}

}  // namespace continuo
