// A .safetensors file that several processes fill: one writes its header, each of them the elements
// that it holds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/files.h"
#include "io/safetensors_header.h"

namespace continuo {

// A file of these tensors, all zeros; laid out as write_safetensors would. Error: as there.
void create_safetensors(const std::filesystem::path& path,
                        const std::vector<TensorOutline>& tensors,
                        const std::map<std::string, std::string>& metadata = {});

class SafetensorsPatch {
 public:
  // Error: not there, or not such a file.
  explicit SafetensorsPatch(std::filesystem::path path);

  // Elements [first, first + values.numel()) of a flattened tensor; `values` of its dtype, on the
  // CPU. Error: unknown name, other dtype, out of range, full disk.
  void write(const std::string& tensor, int64_t first, const at::Tensor& values);
  // What this process wrote is on disk.
  void close();

 private:
  std::filesystem::path path_;
  FileDescriptor fd_;
  std::map<std::string, TensorInfo> tensors_;
  int64_t data_begin_ = 0;
};

}  // namespace continuo
