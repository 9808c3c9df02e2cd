// Reading files of torch.save (pytorch_model.bin, .pt; the zip format of torch 1.6 and later):
// names ↔ tensors, nothing about models. Nothing in the file is executed; its pickle may name only
// what tensors in dictionaries need. Storages are read by mmap.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "io/stored_tensor.h"
#include "io/torch_state_dict.h"

namespace continuo {

class TorchFile {
 public:
  // Maps the file privately and reads its dictionary of tensors (torch_state_dict.h says which).
  // Error naming the file: not a zip archive of torch.save, a Python global that is not allowed,
  // storages or tensors that do not lie in the file.
  explicit TorchFile(const std::filesystem::path& path);

  const std::map<std::string, TorchTensorInfo>& tensors() const;
  // A contiguous tensor: over the mapping (kept alive by it) where the file holds it contiguous and
  // aligned, else a copy. Tensors that share a storage share memory. Writes are private to the
  // process. Error: unknown name, bool byte other than 0 or 1.
  at::Tensor tensor(const std::string& name) const;
  // What it reads is not to be written to.
  StoredTensor stored(const std::string& name) const;
  const std::filesystem::path& path() const;

 private:
  struct Mapping;

  const TorchTensorInfo& info(const std::string& name) const;
  std::shared_ptr<Mapping> mapping_;
};

}  // namespace continuo
