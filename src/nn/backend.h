// What a device computes for nn and train: one table of plain functions, forward and backward side
// by side. They record no gradients; nn wraps each pair once in an autograd function. nn/aten
// writes all of them for any device, and is what a faster backend equals in tests, function by
// function.
//
// Tensors lie on the device, in float32 or bfloat16 (`dtype` of the activations); what is said to
// be float32 is so whatever they are in. Whoever calls makes them contiguous.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "core/random.h"
#include "nn/activation.h"
#include "nn/kv_cache.h"
#include "nn/weight_format.h"

namespace continuo {

class Executor;
struct ExecutorOptions;
struct QuantisedWeight;
struct Rotation;
class Transformer;
class WeightMatrix;

// Products with sums in float32.
struct ProductOps {
  // a [M, K] · b [N, K]ᵀ → [M, N] in the dtype of a. A layer's forward pass.
  at::Tensor (*nt)(const at::Tensor& a, const at::Tensor& b);
  // a [M, K] · b [K, N] → [M, N] in the dtype of a. Its gradient by the input.
  at::Tensor (*nn)(const at::Tensor& a, const at::Tensor& b);
  // a [K, M]ᵀ · b [K, N] → [M, N] in `dtype`, float32 or that of a. Its gradient by the weight.
  at::Tensor (*tn)(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype);
  // sum [M, N], in the dtype of a, += the same products; it is rounded once. For _tn it may be
  // float32 whatever a is.
  void (*add_nt)(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);
  void (*add_nn)(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);
  void (*add_tn)(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);
  // Products in this dtype want multiples of so many rows, for fear of too many different shapes.
  int64_t (*row_multiple)(at::ScalarType dtype);
};

// What reads weights of 8 or 4 bits; activations stay what they are.
struct QuantisedOps {
  // x [M, in] · Wᵀ → [M, out] in the dtype of x.
  at::Tensor (*product)(const at::Tensor& x, const QuantisedWeight& w);
  // → [out, in] in `dtype`.
  at::Tensor (*values)(const QuantisedWeight& w, at::ScalarType dtype);
  // The panels of a matrix on the CPU, in q8 or q4: in the table of the CPU alone, which makes them
  // for all devices.
  at::Tensor (*pack)(const WeightMatrix& matrix, WeightFormat format);
};

// Residual addition, then RMSNorm (arXiv 1910.07467) or LayerNorm (arXiv 1607.06450) where there is
// a bias.
struct NormInput {
  at::Tensor residual;  // [N, hidden] float32
  at::Tensor delta;     // [N, hidden] in `dtype`, or undefined
  at::Tensor weight;    // [hidden] float32
  at::Tensor bias;      // [hidden] float32, or undefined
  double epsilon = 1e-5;
  at::ScalarType dtype = at::kFloat;  // of delta and the result
};
struct NormValues {
  at::Tensor sum;         // [N, hidden] float32: residual + delta
  at::Tensor y;           // [N, hidden] in `dtype`
  at::Tensor mean, rstd;  // [N] float32; mean of LayerNorm alone
};
struct NormGradients {
  at::Tensor sum;    // [N, hidden] float32: of residual + delta
  at::Tensor delta;  // the same in `dtype`
  at::Tensor weight, bias;
};
struct NormOps {
  NormValues (*forward)(const NormInput& input);
  // dsum: what reaches the sum from elsewhere, or undefined. `input` without its residual and
  // delta.
  NormGradients (*backward)(const NormInput& input, const NormValues& values,
                            const at::Tensor& dsum, const at::Tensor& dy);
};

// Rotary embedding in the half-split layout. x: [N, heads, dim] with dim the rotated ones; sign −1
// is the backward pass.
struct RotateOps {
  at::Tensor (*rotate)(const at::Tensor& x, const Rotation& rotation, double sign);
};

// activation(gate) · up (arXiv 2002.05202), or activation(gate) where `up` is undefined. [N,
// width].
struct GateOps {
  at::Tensor (*forward)(const at::Tensor& gate, const at::Tensor& up, Activation activation);
  // Gradients of gate and up from that of the result.
  std::pair<at::Tensor, at::Tensor> (*backward)(const at::Tensor& gradient, const at::Tensor& gate,
                                                const at::Tensor& up, Activation activation);
};

// Causal attention over documents laid end to end; see nn/ragged_attention.h.
struct AttendOptions {
  double scale = 1;
  int64_t window = 0;  // a token sees so many tokens, itself included; 0 = all of its document
  double softcap = 0;  // scores s become softcap · tanh(s / softcap); 0 = as they are
};
struct AttendInput {
  at::Tensor q;                     // [N, heads, dim]
  at::Tensor k, v;                  // [N, kv_heads, dim]
  std::vector<int64_t> boundaries;  // [D+1]
  AttendOptions options;
  at::Tensor offsets = {};  // [D+1] int32, on the device: the boundaries; undefined off the pass
};
struct AttendValues {
  at::Tensor out;  // [N, heads, dim]
  // [heads, N] float32: log Σ exp(score); undefined where a backend's backward pass needs none.
  at::Tensor lse;
};
struct AttendGradients {
  at::Tensor q, k, v;
};
struct AttendOps {
  AttendValues (*forward)(const AttendInput& input);
  AttendGradients (*backward)(const AttendInput& input, const AttendValues& values,
                              const at::Tensor& dout);
};

// For documents that continue sequences of a cache that `make` gave: what a layer reads of it, and
// writes into it for the new tokens. None of them commits.
struct CacheOps {
  std::unique_ptr<KVCache> (*make)(std::span<const LayerCache> layers, at::Device device);
  at::Tensor (*attend)(const AttendInput& input, const CachedSequences& cached, int64_t layer);
  // inputs: [N, width] of a StateLayer → [N + D · seen, width] float32: each document's behind the
  // `seen` ones before it, zeros before its sequence begins.
  at::Tensor (*recall)(const at::Tensor& inputs, const std::vector<int64_t>& boundaries,
                       const CachedSequences& cached, int64_t layer);
};

// Softmax cross-entropy of rows of logits, their gradient in their place.
struct RowLoss {
  double label_smoothing = 0;  // arXiv 1512.00567
  double z_loss = 0;           // coefficient of log²Z (arXiv 2204.02311)
  bool gradient = false;       // the logits become d(Σ factor · loss)/d(logits)
  double scale = 1;            // the factor of every row …
  at::Tensor weights;          // … times its own: [m] float32 of the first m rows, or undefined
};
struct RowStatistics {
  at::Tensor loss;     // [M] float32: with smoothing and z-loss, without the factor
  at::Tensor nll;      // [M] float32: −log p(target)
  at::Tensor entropy;  // [M] float32, nats
  at::Tensor correct;  // [M] float32: 1 where the target is the argmax
};
struct LossOps {
  // logits [M, V] in either dtype, targets [M] int64.
  RowStatistics (*cross_entropy)(at::Tensor& logits, const at::Tensor& targets,
                                 const RowLoss& options);
};

// The mask of dropout over the input of an adapter (nn/adapters/dropout.h): element (r, c) is kept
// where 16 bits of the Philox block (tokens[r], step << 32 | c / 8), lane c mod 8, are not below
// the threshold.
struct DropoutNoise {
  at::Tensor tokens;  // [named] int64, on the device: the bits of the rows' names
  int64_t rows = 0;   // those behind the named ones are padding
  int64_t columns = 0;
  PhiloxKey key = {};
  uint32_t step = 0;
  uint32_t threshold = 0;  // of 2^16

  float kept() const { return static_cast<float>(65536.0 / (65536.0 - threshold)); }
};
struct DropoutOps {
  // → [rows, columns] in `dtype`: 0, or `kept` where an element is; 0 in rows of padding.
  at::Tensor (*mask)(const DropoutNoise& noise, at::ScalarType dtype);
};

struct Backend {
  const char* name;
  ProductOps products;
  QuantisedOps quantised;
  NormOps norm;
  RotateOps rotate;
  GateOps gate;
  AttendOps attend;
  CacheOps cache;
  LossOps loss;
  DropoutOps dropout;
  // What runs finished models, and why it is this: for people.
  std::string (*executor)();
  // nn/executor.h. Error: options that it does not serve.
  std::unique_ptr<Executor> (*make_executor)(const std::shared_ptr<Transformer>& model,
                                             const ExecutorOptions& options);
};

// The table of a device. Error: none was installed for it.
const Backend& backend_of(at::Device device);
inline const Backend& backend_of(const at::Tensor& tensor) { return backend_of(tensor.device()); }

// Makes `backend` compute for devices of this type from now on. Programs do it once, before the
// first model; `backend` outlives them.
void install_backend(at::DeviceType type, const Backend& backend);

}  // namespace continuo
