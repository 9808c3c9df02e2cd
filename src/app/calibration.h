// Blocks of a model's matrices that go by what rows of data put through its layers.
#pragma once

#include <functional>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "data/batch.h"
#include "io/quantise.h"
#include "models/store/model.h"

namespace continuo {

// Blocks for every matrix of a linear layer whose rows are whole blocks of its type, by its name in
// model.safetensors, of which `type_of` makes its type, [out, bytes of a row] uint8: what a
// checkpoint holds transposed lies by rows of inputs here. One pass over all of `batch`, in which
// each layer is rounded as the model reaches it (calibrated_blocks.h) and goes on with its rounded
// weight, so that those behind it make up for it as well; beside the model it takes the memory of
// that pass and of one matrix. Shows its progress. The model is as before afterwards. Error:
// interrupted; whatever calibrated_blocks refuses, naming the tensor.
std::map<std::string, at::Tensor> calibrate(
    const Model& model, const Batch& batch,
    const std::function<GgmlType(const std::string& name)>& type_of);

}  // namespace continuo
