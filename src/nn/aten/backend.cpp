#include "nn/aten/backend.h"

#include "nn/aten/ops.h"

namespace continuo {

namespace {

int64_t any_rows(at::ScalarType) { return 1; }

}  // namespace

const Backend& aten_backend() {
  static const Backend kBackend = {.name = "aten",
                                   .products = {.nt = aten::product_nt,
                                                .nn = aten::product_nn,
                                                .tn = aten::product_tn,
                                                .add_nt = aten::add_product_nt,
                                                .add_nn = aten::add_product_nn,
                                                .add_tn = aten::add_product_tn,
                                                .rows = aten::product_rows,
                                                .row_multiple = any_rows},
                                   .norm = {.forward = aten::norm, .backward = aten::norm_backward},
                                   .rotate = {.rotate = aten::rotate},
                                   .gate = {.forward = aten::gate, .backward = aten::gate_backward},
                                   .attend = {.forward = aten::attend,
                                              .backward = aten::attend_backward,
                                              .cached = aten::attend_cached},
                                   .loss = {.cross_entropy = aten::cross_entropy}};
  return kBackend;
}

}  // namespace continuo
