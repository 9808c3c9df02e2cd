// The functions of the table, each in the .cu file that is named after what it computes.
#pragma once

#include "nn/cuda/kernels/kernels.h"

namespace continuo::cuda {

const char* start_add_rms_norm(const AddRmsNorm& arguments, Stream stream);
const char* start_add_rms_norm_backward(const AddRmsNormBackward& arguments, Stream stream);
const char* start_rotate(const Rotate& arguments, Stream stream);
const char* start_gate(const Gate& arguments, Stream stream);
const char* start_gate_backward(const GateBackward& arguments, Stream stream);
const char* start_cross_entropy(const CrossEntropy& arguments, Stream stream);
const char* start_dropout_mask(const DropoutMask& arguments, Stream stream);
const char* start_quantised_product(const QuantisedProduct& arguments, Stream stream);
const char* start_quantised_values(const QuantisedValues& arguments, Stream stream);

}  // namespace continuo::cuda
