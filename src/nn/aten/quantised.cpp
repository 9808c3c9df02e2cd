#include <ATen/TensorOperators.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/cat.h>

#include "nn/aten/ops.h"
#include "nn/panel_layout.h"

namespace continuo::aten {

at::Tensor quantised_values(const QuantisedWeight& w, at::ScalarType dtype) {
  const int bits = bits_of(w.format);
  const int64_t panels = w.panels.size(0), blocks = packed_inputs(w.in) / kQuantBlock,
                codes = quantised_code_bytes(bits);
  const at::Tensor all = w.panels.view({panels, blocks, quantised_bytes(bits)});
  // The factors from byte `from` of a block on, as [panels, rows of a panel, blocks, 1].
  const auto factors = [&](int64_t from) {
    return all.narrow(2, from, 2 * kPanel)
        .contiguous()
        .view(at::kHalf)
        .permute({0, 2, 1})
        .unsqueeze(3)
        .to(at::kFloat);
  };
  // [panels, blocks, groups of four values, rows of a panel, 4]
  at::Tensor code = all.narrow(2, 0, codes).reshape({panels, blocks, -1, kPanel, 4});
  if (bits == 4) code = at::cat({code & 15, at::bitwise_right_shift(code, 4)}, 2);
  code =
      code.permute({0, 3, 1, 2, 4}).reshape({panels, kPanel, blocks, kQuantBlock}).to(at::kFloat);
  const at::Tensor scale = factors(codes);
  const at::Tensor values =
      bits == 8 ? (code - 128) * scale : code * scale + factors(codes + 2 * kPanel);
  return values.reshape({panels * kPanel, blocks * kQuantBlock})
      .narrow(0, 0, w.out)
      .narrow(1, 0, w.in)
      .to(dtype)
      .contiguous();
}

at::Tensor quantised_product(const at::Tensor& x, const QuantisedWeight& w) {
  return product_nt(x, quantised_values(w, x.scalar_type()));
}

}  // namespace continuo::aten
