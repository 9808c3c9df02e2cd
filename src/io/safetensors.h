// Reading and writing .safetensors: names ↔ tensors, nothing about models. Reads by mmap without a
// second copy; every header field is checked against the file before a byte of data is touched.
// Format: u64 little-endian N | N bytes of JSON {name: {dtype, shape, data_offsets}} | data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/stored_tensor.h"
#include "io/tensor_info.h"

namespace continuo {

class SafetensorsFile {
 public:
  // Maps the file privately. Error naming the file and the header field: truncated, oversized or
  // non-JSON header, overlapping or out-of-range offsets, holes, size that disagrees with shape and
  // dtype, duplicate or unknown names.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, TensorInfo>& tensors() const;
  const std::map<std::string, std::string>& metadata() const;
  // A tensor over the mapping (kept alive by it); a copy where the file left it unaligned for its
  // dtype. Writes to it are private to the process. Error: unknown name, BOOL byte other than 0
  // or 1. The file must not be shortened while it is in use: the system answers that with SIGBUS.
  at::Tensor tensor(const std::string& name) const;
  // What it reads is not to be written to.
  StoredTensor stored(const std::string& name) const;
  std::map<std::string, at::Tensor> all() const;
  const std::filesystem::path& path() const;
  int64_t data_begin() const;  // of the data section, bytes in the file

 private:
  struct Mapping;

  const TensorInfo& info(const std::string& name) const;

  std::shared_ptr<Mapping> mapping_;
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Writes `tensors` (any strides, CPU or CUDA), streaming one tensor at a time; flushed to disk
// before it returns. Wider dtypes come first so that every tensor is aligned; within a width the
// given order stays. transformers wants metadata {"format": "pt"} in a model file. The caller
// replaces files atomically (core/files.h). Error: duplicate name, undefined tensor, dtype without
// a name in the format, full disk.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace continuo
