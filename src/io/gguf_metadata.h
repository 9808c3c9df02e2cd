// What a GGUF file says besides its tensors: keys and typed values in file order, and each tensor's
// type, shape and place. Needs no LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "io/quantise.h"

namespace continuo {

// Stands for an array inside an array, which nobody writes: never a value.
struct GgufNested {
  bool operator==(const GgufNested&) const = default;
};

// The alternatives stand at their type numbers in the file, as in GgufValue.
using GgufArray =
    std::variant<std::vector<uint8_t>, std::vector<int8_t>, std::vector<uint16_t>,
                 std::vector<int16_t>, std::vector<uint32_t>, std::vector<int32_t>,
                 std::vector<float>, std::vector<bool>, std::vector<std::string>, GgufNested,
                 std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>>;
using GgufValue = std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool,
                               std::string, GgufArray, uint64_t, int64_t, double>;
using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;

// Null when there is no such key.
const GgufValue* find_gguf_value(const GgufMetadata& metadata, std::string_view key);
// "u8", …, "string", "array of f32".
std::string gguf_type_name(const GgufValue& value);

struct GgufTensorInfo {
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;  // as in torch: the last dimension is contiguous
  int64_t begin = 0, end = 0;  // bytes relative to the data section
};

inline constexpr int64_t kGgufAlignment = 32;
inline constexpr std::string_view kGgufAlignmentKey = "general.alignment";

}  // namespace continuo
