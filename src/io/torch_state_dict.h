// What a torch.save pickle says about tensors: names, shapes, strides and storages. Every number is
// checked against the storage's own count of elements. Touches no data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <c10/core/ScalarType.h>

namespace continuo {

struct TorchTensorInfo {
  at::ScalarType dtype;
  std::vector<int64_t> shape, strides;  // strides in elements
  std::string storage;                  // key: the entry data/<key> of the archive
  int64_t storage_bytes = 0;            // what the storage must hold
  int64_t begin = 0;                    // bytes from the start of the storage
  int64_t reach = 0;                    // bytes from there to the end of the last element
  int64_t bytes = 0;                    // of a contiguous copy
  bool contiguous = true;
};

// The tensors of the state dictionary: the saved dictionary itself when it holds tensors, else the
// one under "state_dict", "model_state_dict", "model" or "module". Parameters count as tensors;
// other values beside them (step counters, strings) are left out. `file` names the file in errors.
// Error: any global but those that torch.save needs for tensors, malformed or out-of-range tensors,
// no dictionary of tensors.
std::map<std::string, TorchTensorInfo> read_torch_state_dict(std::span<const std::byte> pickle,
                                                             const std::string& file);

}  // namespace continuo
