// The functions of the reference backend, for it and for backends that fall back on one of them.
#pragma once

#include "nn/backend.h"
#include "nn/quantised_weight.h"

namespace continuo::aten {

at::Tensor product_nt(const at::Tensor& a, const at::Tensor& b);
at::Tensor product_nn(const at::Tensor& a, const at::Tensor& b);
at::Tensor product_tn(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype);
void add_product_nt(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);
void add_product_nn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);
void add_product_tn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);

at::Tensor quantised_product(const at::Tensor& x, const QuantisedWeight& w);
at::Tensor quantised_values(const QuantisedWeight& w, at::ScalarType dtype);

NormValues norm(const NormInput& input);
NormGradients norm_backward(const NormInput& input, const NormValues& values,
                            const at::Tensor& dsum, const at::Tensor& dy);

at::Tensor rotate(const at::Tensor& x, const Rotation& rotation, double sign);

at::Tensor gate(const at::Tensor& gate, const at::Tensor& up, Activation activation);
std::pair<at::Tensor, at::Tensor> gate_backward(const at::Tensor& gradient, const at::Tensor& gate,
                                                const at::Tensor& up, Activation activation);

AttendValues attend(const AttendInput& input);
AttendGradients attend_backward(const AttendInput& input, const AttendValues& values,
                                const at::Tensor& dout);
// Without softcap; values without lse.
AttendValues attend_fused(const AttendInput& input);
AttendGradients attend_fused_backward(const AttendInput& input, const at::Tensor& dout);

std::unique_ptr<KVCache> make_cache(std::span<const LayerCache> layers, at::Device device);
at::Tensor attend_cached(const AttendInput& input, const CachedSequences& cached, int64_t layer);
// The queries of document d behind `past` tokens, whose keys and values [kv_heads, past + n, dim]
// hold those of its own as well; writes its rows of `out`.
void attend_document(const AttendInput& input, int64_t document, int64_t past,
                     const at::Tensor& keys, const at::Tensor& values, at::Tensor& out);
at::Tensor recall(const at::Tensor& inputs, const std::vector<int64_t>& boundaries,
                  const CachedSequences& cached, int64_t layer);

RowStatistics cross_entropy(at::Tensor& logits, const at::Tensor& targets, const RowLoss& options);

at::Tensor dropout_mask(const DropoutNoise& noise, at::ScalarType dtype);

std::unique_ptr<Executor> make_executor(const std::shared_ptr<Transformer>& model,
                                        const ExecutorOptions& options);

}  // namespace continuo::aten
