// All weights of a model directory in the layout of Hugging Face: one file or shards behind an
// index, as safetensors or as torch.save wrote them.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "io/stored_tensor.h"

namespace continuo {

// What is there, unread. Takes the first of model.safetensors, model.safetensors.index.json,
// pytorch_model.bin and pytorch_model.bin.index.json. Tensors lie over mappings where the file
// allows it. Error naming the file: none of these, a missing shard, a tensor that is not in the
// shard the index names, a shard outside the directory, whatever the reader of the format refuses.
StoredTensors open_model_tensors(const std::filesystem::path& directory);

inline std::map<std::string, at::Tensor> read_model_tensors(
    const std::filesystem::path& directory) {
  return read_all(open_model_tensors(directory));
}

}  // namespace continuo
