// From tensors to kernels of our own.
#include <algorithm>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/error.h"
#include "nn/aten/ops.h"
#include "nn/cuda/backend.h"
#include "nn/cuda/ops.h"
#include "nn/rope.h"

namespace continuo {

namespace {

const cuda::Kernels* g_kernels = nullptr;

}  // namespace

void install_cuda_kernels(const cuda::Kernels* kernels) { g_kernels = kernels; }

const cuda::Kernels* built_cuda_kernels() {
#ifdef CONTINUO_CUDA_KERNELS
  return &cuda::compiled_kernels();
#else
  return nullptr;
#endif
}

namespace cuda {

namespace {

Type type_of(at::ScalarType dtype) { return dtype == at::kBFloat16 ? Type::bf16 : Type::f32; }

const void* data(const at::Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; }
const float* floats(const at::Tensor& t) {
  return t.defined() ? t.const_data_ptr<float>() : nullptr;
}

// Starts a kernel on the device and in the stream that its tensors are used on.
template <class Arguments>
void start(const char* (*kernel)(const Arguments&, Stream), const Arguments& arguments,
           at::Device device) {
  const c10::DeviceGuard guard(device);
  const Stream stream =
      device.is_cpu()
          ? nullptr
          : c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
  if (const char* error = kernel(arguments, stream))
    fail("a kernel of {}: {}", device.str(), error);
}

at::Tensor empty_row(const at::Tensor& like, int64_t rows) {
  return at::empty({rows}, like.options().dtype(at::kFloat));
}

}  // namespace

bool has_kernels() { return g_kernels != nullptr; }
const Kernels& kernels() { return *g_kernels; }

NormValues norm(const NormInput& in) {
  if (in.bias.defined()) return aten::norm(in);
  const int64_t rows = in.residual.size(0), hidden = in.residual.size(1);
  NormValues values;
  values.sum = in.delta.defined() ? at::empty_like(in.residual) : in.residual;
  values.y = at::empty(in.residual.sizes(), in.residual.options().dtype(in.dtype));
  values.rstd = empty_row(in.residual, rows);
  start(kernels().add_rms_norm,
        {.rows = rows,
         .hidden = hidden,
         .residual = floats(in.residual),
         .delta = data(in.delta),
         .weight = floats(in.weight),
         .epsilon = static_cast<float>(in.epsilon),
         .type = type_of(in.dtype),
         .sum = in.delta.defined() ? values.sum.data_ptr<float>() : nullptr,
         .y = values.y.mutable_data_ptr(),
         .rstd = values.rstd.data_ptr<float>()},
        in.residual.device());
  return values;
}

NormGradients norm_backward(const NormInput& in, const NormValues& values, const at::Tensor& dsum,
                            const at::Tensor& dy) {
  if (in.bias.defined()) return aten::norm_backward(in, values, dsum, dy);
  const at::Tensor& x = values.sum;
  const int64_t rows = x.size(0), hidden = x.size(1);
  const bool narrow = in.dtype == at::kBFloat16;
  NormGradients g;
  g.sum = at::empty_like(x);
  g.delta = narrow ? at::empty(x.sizes(), x.options().dtype(in.dtype)) : g.sum;
  g.weight = empty_row(x, hidden);
  const at::Tensor partial = at::empty({norm_partials(rows), hidden}, x.options());
  start(kernels().add_rms_norm_backward,
        {.rows = rows,
         .hidden = hidden,
         .dy = data(dy),
         .dsum = floats(dsum),
         .sum = floats(x),
         .weight = floats(in.weight),
         .rstd = floats(values.rstd),
         .type = type_of(in.dtype),
         .dx = g.sum.data_ptr<float>(),
         .ddelta = narrow ? g.delta.mutable_data_ptr() : nullptr,
         .dweight = g.weight.data_ptr<float>(),
         .partial = partial.data_ptr<float>()},
        x.device());
  return g;
}

at::Tensor rotate(const at::Tensor& x, const Rotation& r, double sign) {
  at::Tensor out = at::empty_like(x);
  start(kernels().rotate,
        {.rows = x.size(0),
         .heads = x.size(1),
         .dim = x.size(2),
         .x = data(x),
         .positions = r.rows.const_data_ptr<int64_t>(),
         .cos = floats(r.cos),
         .sin = floats(r.sin),
         .sign = static_cast<float>(sign),
         .type = type_of(x.scalar_type()),
         .out = out.mutable_data_ptr()},
        x.device());
  return out;
}

at::Tensor gate(const at::Tensor& gate, const at::Tensor& up, Activation activation) {
  at::Tensor out = at::empty_like(gate);
  start(kernels().gate,
        {.count = gate.numel(),
         .gate = data(gate),
         .up = data(up),
         .activation = activation,
         .type = type_of(gate.scalar_type()),
         .out = out.mutable_data_ptr()},
        gate.device());
  return out;
}

std::pair<at::Tensor, at::Tensor> gate_backward(const at::Tensor& gradient, const at::Tensor& gate,
                                                const at::Tensor& up, Activation activation) {
  at::Tensor dgate = at::empty_like(gate), dup = up.defined() ? at::empty_like(up) : at::Tensor();
  start(kernels().gate_backward,
        {.count = gate.numel(),
         .gradient = data(gradient),
         .gate = data(gate),
         .up = data(up),
         .activation = activation,
         .type = type_of(gate.scalar_type()),
         .dgate = dgate.mutable_data_ptr(),
         .dup = up.defined() ? dup.mutable_data_ptr() : nullptr},
        gate.device());
  return {dgate, dup};
}

RowStatistics cross_entropy(at::Tensor& logits, const at::Tensor& targets, const RowLoss& o) {
  const int64_t rows = logits.size(0);
  const RowStatistics s = {empty_row(logits, rows), empty_row(logits, rows),
                           empty_row(logits, rows), empty_row(logits, rows)};
  start(kernels().cross_entropy,
        {.rows = rows,
         .vocabulary = logits.size(1),
         .logits = logits.mutable_data_ptr(),
         .targets = targets.const_data_ptr<int64_t>(),
         .label_smoothing = static_cast<float>(o.label_smoothing),
         .z_loss = static_cast<float>(o.z_loss),
         .gradient = o.gradient,
         .scale = static_cast<float>(o.scale),
         .weights = floats(o.weights),
         .weighted = o.weights.defined() ? o.weights.size(0) : 0,
         .type = type_of(logits.scalar_type()),
         .loss = s.loss.data_ptr<float>(),
         .nll = s.nll.data_ptr<float>(),
         .entropy = s.entropy.data_ptr<float>(),
         .correct = s.correct.data_ptr<float>()},
        logits.device());
  return s;
}

at::Tensor dropout_mask(const DropoutNoise& noise, at::ScalarType dtype) {
  at::Tensor mask = at::empty({noise.rows, noise.columns}, noise.tokens.options().dtype(dtype));
  start(kernels().dropout_mask,
        {.named = noise.tokens.size(0),
         .rows = noise.rows,
         .columns = noise.columns,
         .tokens = noise.tokens.const_data_ptr<int64_t>(),
         .key = {noise.key[0], noise.key[1]},
         .step = noise.step,
         .threshold = noise.threshold,
         .kept = noise.kept(),
         .type = type_of(dtype),
         .mask = mask.mutable_data_ptr()},
        noise.tokens.device());
  return mask;
}

// So many rows read the weights again and again, which is less than to write them in 16 bits and
// to read those.
constexpr int64_t kFewRows = 4 * kMostQuantisedRows;

at::Tensor quantised_product(const at::Tensor& x, const QuantisedWeight& w) {
  const int64_t rows = x.size(0);
  if (rows > kFewRows) return aten::product_nt(x, quantised_values(w, x.scalar_type()));
  at::Tensor y = at::empty({rows, w.out}, x.options());
  for (int64_t r = 0; r < rows; r += kMostQuantisedRows) {
    const int64_t count = std::min(kMostQuantisedRows, rows - r);
    start(kernels().quantised_product,
          {.rows = count,
           .in = w.in,
           .out = w.out,
           .bits = bits_of(w.format),
           .panels = w.panels.const_data_ptr<uint8_t>(),
           .x = data(x.narrow(0, r, count)),
           .type = type_of(x.scalar_type()),
           .y = y.narrow(0, r, count).mutable_data_ptr()},
          x.device());
  }
  return y;
}

at::Tensor quantised_values(const QuantisedWeight& w, at::ScalarType dtype) {
  at::Tensor values = at::empty({w.out, w.in}, w.panels.options().dtype(dtype));
  start(kernels().quantised_values,
        {.in = w.in,
         .out = w.out,
         .bits = bits_of(w.format),
         .panels = w.panels.const_data_ptr<uint8_t>(),
         .type = type_of(dtype),
         .values = values.mutable_data_ptr()},
        values.device());
  return values;
}

}  // namespace cuda

}  // namespace continuo
