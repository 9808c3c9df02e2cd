// The functions of the CPU's backend, by its kernels; each falls back on the reference where they
// do not reach.
#pragma once

#include "nn/backend.h"

namespace continuo::cpu {

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

RowStatistics cross_entropy(at::Tensor& logits, const at::Tensor& targets, const RowLoss& options);

at::Tensor dropout_mask(const DropoutNoise& noise, at::ScalarType dtype);

at::Tensor pack_panels(const WeightMatrix& matrix, WeightFormat format);

}  // namespace continuo::cpu
