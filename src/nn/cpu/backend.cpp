#include "nn/cpu/backend.h"

#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "nn/aten/backend.h"
#include "nn/cpu/inference_engine.h"
#include "nn/cpu/matmul.h"
#include "nn/cpu/ops.h"

namespace continuo {

namespace {

std::unique_ptr<DecodeEngine> make_engine(const TransformerOptions& options,
                                          const EngineWeights& weights, WeightFormat format) {
  return std::make_unique<InferenceEngine>(options, weights, format);
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
                   .rows = cpu::product_rows,
                   .row_multiple = cpu::row_multiple},
      .norm = {.forward = cpu::norm, .backward = cpu::norm_backward},
      .rotate = {.rotate = cpu::rotate},
      .gate = {.forward = cpu::gate, .backward = cpu::gate_backward},
      .attend = {.forward = cpu::attend,
                 .backward = cpu::attend_backward,
                 .cached = cpu::attend_cached},
      .loss = {.cross_entropy = cpu::cross_entropy},
      .engine = {.covers = InferenceEngine::covers, .make = make_engine}};
  return kBackend;
}

const Backend& host_backend() {
  const char* setting = std::getenv("CONTINUO_BACKEND");
  const std::string_view wanted = setting ? setting : "";
  if (wanted.empty() || wanted == cpu_backend().name) return cpu_backend();
  if (wanted == aten_backend().name) return aten_backend();
  throw Error(fmt::format("CONTINUO_BACKEND={} names no backend", wanted),
              "Use cpu or aten, or leave it unset.");
}

}  // namespace continuo
