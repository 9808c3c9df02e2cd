// The JSON header of a .safetensors file: parsed as a stream, every field checked against the
// number of data bytes that follow. Knows neither files nor tensors' contents.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/tensor_info.h"

namespace continuo {

struct SafetensorsHeader {
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
};

// `file` names the file in errors; `data_bytes` is the size of the data section.
SafetensorsHeader parse_safetensors_header(std::string_view json, int64_t data_bytes,
                                           const std::string& file);

struct TensorOutline {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;
};

// Where the tensors of a file lie. Wider dtypes come first so that every tensor is aligned; within
// a width the given order stays. Error: a dtype without a name in the format.
std::vector<std::pair<std::string, TensorInfo>> safetensors_layout(
    std::vector<TensorOutline> tensors, const std::string& file);

// The header for tensors laid out in this order, padded with spaces to a multiple of 8 bytes.
std::string encode_safetensors_header(
    const std::vector<std::pair<std::string, TensorInfo>>& tensors,
    const std::map<std::string, std::string>& metadata);

// "F32", "BF16", …; empty when the format has no name for the dtype.
std::string_view safetensors_dtype_name(at::ScalarType dtype);

// A header above this is refused, as the reference implementation does.
inline constexpr int64_t kMaxSafetensorsHeader = 100'000'000;

}  // namespace continuo
