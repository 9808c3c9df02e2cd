// The functions of the backend of GPUs; each falls back on the reference where it does not reach.
#pragma once

#include "nn/backend.h"
#include "nn/cuda/kernels/kernels.h"
#include "nn/quantised_weight.h"

namespace continuo::cuda {

// Sums of bfloat16 products come back in float32 as they were added up, without a rounding between.
at::Tensor product_tn(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype);
void add_product_tn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);

// Flash attention (arXiv 2307.08691) of LibTorch over all documents at once: bfloat16 and float16,
// heads of a multiple of 8 up to 256, no soft cap.
AttendValues attend(const AttendInput& input);
AttendGradients attend_backward(const AttendInput& input, const AttendValues& values,
                                const at::Tensor& dout);
std::unique_ptr<KVCache> make_cache(std::span<const LayerCache> layers, at::Device device);
// Whether attention of such heads in bfloat16 is that kernel, or the reference instead.
bool attends_in_one_kernel(int64_t dim, double softcap);
at::Tensor attend_cached(const AttendInput& input, const CachedSequences& cached, int64_t layer);

// Records decoding passes where device graphs are installed.
std::unique_ptr<Executor> make_executor(const std::shared_ptr<Transformer>& model,
                                        const ExecutorOptions& options);

// By kernels of our own.
at::Tensor quantised_product(const at::Tensor& x, const QuantisedWeight& w);
at::Tensor quantised_values(const QuantisedWeight& w, at::ScalarType dtype);
NormValues norm(const NormInput& input);
NormGradients norm_backward(const NormInput& input, const NormValues& values,
                            const at::Tensor& dsum, const at::Tensor& dy);
at::Tensor rotate(const at::Tensor& x, const Rotation& rotation, double sign);
at::Tensor gate(const at::Tensor& gate, const at::Tensor& up, Activation activation);
std::pair<at::Tensor, at::Tensor> gate_backward(const at::Tensor& gradient, const at::Tensor& gate,
                                                const at::Tensor& up, Activation activation);
RowStatistics cross_entropy(at::Tensor& logits, const at::Tensor& targets, const RowLoss& options);
at::Tensor dropout_mask(const DropoutNoise& noise, at::ScalarType dtype);

// The installed ones, which are there where one of the functions above is called.
const Kernels& kernels();
bool has_kernels();

}  // namespace continuo::cuda
