// Writing .gguf files (version 3), converting and quantising one tensor at a time.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/gguf_metadata.h"

namespace continuo {

struct GgufTensor {
  std::string name;
  at::Tensor tensor;  // any strides, CPU or CUDA; at most 4 dimensions
  // F32, F16, BF16 and the blocks that `quantise` makes from any real dtype; I8…I64 and F64 from
  // just that dtype.
  GgmlType type = GgmlType::kF32;
  // Of blocks that were made already: all their bytes, uint8, written in place of the tensor's.
  at::Tensor blocks = {};
};

// Metadata and tensors stand in the file in the given order, tensors aligned to 32 bytes; flushed
// to disk before it returns. Memory beyond the tensors themselves stays bounded. The caller
// replaces files atomically (core/files.h). Error naming the tensor or key: duplicate or overlong
// names, rows that are no whole blocks, values that the type cannot hold, full disk.
void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                const std::vector<GgufTensor>& tensors);

}  // namespace continuo
