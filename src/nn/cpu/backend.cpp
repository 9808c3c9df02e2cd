#include "nn/cpu/backend.h"

#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "nn/aten/backend.h"
#include "nn/aten/ops.h"
#include "nn/cpu/engine.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/matmul.h"
#include "nn/cpu/ops.h"

namespace continuo {

namespace {

// oneDNN compiles and keeps a bfloat16 product for every number of rows that it meets.
int64_t row_multiple(at::ScalarType dtype) {
  constexpr int64_t kRows = 64;
  return dtype == at::kBFloat16 && !own_matmul(dtype) ? kRows : 1;
}

std::string engine_name() {
  return fmt::format(
      "CPU's engine, which serves every family: packed fp32, bf16, q8 or q4 weights, kernels for "
      "{}",
      kernels().instruction_set);
}

std::unique_ptr<Executor> make_engine(const std::shared_ptr<Transformer>& model,
                                      const ExecutorOptions& options) {
  return std::make_unique<CpuEngine>(model, options);
}

}  // namespace

const Backend& cpu_backend() {
  static const Backend kBackend = {
      .name = "cpu",
      .products = {.nt = matmul_nt,
                   .nn = matmul_nn,
                   .tn = matmul_tn,
                   .add_nt = add_matmul_nt,
                   .add_nn = add_matmul_nn,
                   .add_tn = add_matmul_tn,
                   .row_multiple = row_multiple},
      .quantised = {.product = aten::quantised_product,
                    .values = aten::quantised_values,
                    .pack = cpu::pack_panels},
      .norm = {.forward = cpu::norm, .backward = cpu::norm_backward},
      .rotate = {.rotate = cpu::rotate},
      .gate = {.forward = cpu::gate, .backward = cpu::gate_backward},
      .attend = {.forward = cpu::attend, .backward = cpu::attend_backward},
      .cache = {.make = aten::make_cache, .attend = aten::attend_cached, .recall = aten::recall},
      .loss = {.cross_entropy = cpu::cross_entropy},
      .dropout = {.mask = cpu::dropout_mask},
      .executor = engine_name,
      .make_executor = make_engine};
  return kBackend;
}

const Backend& host_backend() {
  const char* setting = std::getenv("CONTINUO_BACKEND");
  const std::string_view wanted = setting ? setting : "";
  if (wanted.empty() || wanted == cpu_backend().name) return cpu_backend();
  static const Backend kReference = [] {
    Backend reference = aten_backend();
    reference.quantised.pack = cpu::pack_panels;
    return reference;
  }();
  if (wanted == kReference.name) return kReference;
  throw Error(fmt::format("CONTINUO_BACKEND={} names no backend", wanted),
              "Use cpu or aten, or leave it unset.");
}

}  // namespace continuo
