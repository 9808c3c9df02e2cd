#include "io/gguf.h"

#include <cstring>
#include <limits>
#include <type_traits>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "core/mapped_file.h"
#include "io/gguf_header.h"

namespace continuo {
namespace {

constexpr int64_t kDecodeGrain = 1 << 16;  // per task of dequantise

// Nothing for quantised types.
std::optional<at::ScalarType> plain_dtype(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return at::kFloat;
    case GgmlType::kF16:
      return at::kHalf;
    case GgmlType::kBF16:
      return at::kBFloat16;
    case GgmlType::kF64:
      return at::kDouble;
    case GgmlType::kI8:
      return at::kChar;
    case GgmlType::kI16:
      return at::kShort;
    case GgmlType::kI32:
      return at::kInt;
    case GgmlType::kI64:
      return at::kLong;
    default:
      return std::nullopt;
  }
}

}  // namespace

struct GgufFile::Mapping {
  explicit Mapping(const std::filesystem::path& where)
      : path(where),
        file(where, MappedFile::Mode::kPrivate),
        header(parse_gguf_header(file.bytes(), where.string())) {}

  std::filesystem::path path;
  // Private: optimizers may update loaded weights in place without touching the file.
  MappedFile file;
  GgufHeader header;
};

GgufFile::GgufFile(const std::filesystem::path& path) : mapping_(std::make_shared<Mapping>(path)) {}

const std::filesystem::path& GgufFile::path() const { return mapping_->path; }

const GgufMetadata& GgufFile::metadata() const { return mapping_->header.metadata; }

const std::map<std::string, GgufTensorInfo>& GgufFile::tensors() const {
  return mapping_->header.tensors;
}

void GgufFile::wrong_type(std::string_view key, const GgufValue& value,
                          std::string_view wanted) const {
  fail("{}: '{}' is of type {}, expected {}", path().string(), key, gguf_type_name(value), wanted);
}

std::optional<int64_t> GgufFile::integer(std::string_view key) const {
  const GgufValue* const value = find_gguf_value(metadata(), key);
  if (!value) return std::nullopt;
  return std::visit(
      [&]<class T>(const T& number) -> int64_t {
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
          if (std::in_range<int64_t>(number)) return static_cast<int64_t>(number);
          fail("{}: '{}' is {}, which is too large", path().string(), key, number);
        } else {
          wrong_type(key, *value, "an integer");
        }
      },
      *value);
}

std::optional<double> GgufFile::number(std::string_view key) const {
  const GgufValue* const value = find_gguf_value(metadata(), key);
  if (!value) return std::nullopt;
  return std::visit(
      [&]<class T>(const T& number) -> double {
        if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
          return static_cast<double>(number);
        } else {
          wrong_type(key, *value, "a number");
        }
      },
      *value);
}

std::optional<bool> GgufFile::flag(std::string_view key) const {
  const GgufValue* const value = find_gguf_value(metadata(), key);
  if (!value) return std::nullopt;
  if (!std::holds_alternative<bool>(*value)) wrong_type(key, *value, "bool");
  return std::get<bool>(*value);
}

std::optional<std::string_view> GgufFile::text(std::string_view key) const {
  const GgufValue* const value = find_gguf_value(metadata(), key);
  if (!value) return std::nullopt;
  if (!std::holds_alternative<std::string>(*value)) wrong_type(key, *value, "string");
  return std::get<std::string>(*value);
}

const GgufTensorInfo& GgufFile::info(const std::string& name) const {
  const auto found = tensors().find(name);
  if (found == tensors().end()) fail("{}: no tensor named '{}'", path().string(), name);
  return found->second;
}

at::Tensor GgufFile::view(const GgufTensorInfo& info, const std::vector<int64_t>& shape,
                          at::ScalarType dtype) const {
  if (info.begin == info.end) return at::empty(shape, dtype);
  std::byte* const begin = mapping_->file.mutable_data() + mapping_->header.data_begin + info.begin;
  if (reinterpret_cast<uintptr_t>(begin) % c10::elementSize(dtype) != 0) {
    at::Tensor copy = at::empty(shape, dtype);
    std::memcpy(copy.data_ptr(), begin, static_cast<size_t>(info.end - info.begin));
    return copy;
  }
  // The deleter owns a share of the mapping: tensors outlive the file object.
  return at::from_blob(
      begin, shape, [mapping = mapping_](void*) {}, at::TensorOptions().dtype(dtype));
}

at::Tensor GgufFile::tensor(const std::string& name) const {
  const GgufTensorInfo& found = info(name);
  const auto dtype = plain_dtype(found.type);
  if (!dtype) {
    fail("{}: tensor '{}' is quantised ({}): it must be dequantised", path().string(), name,
         ggml_format(found.type).name);
  }
  return view(found, found.shape, *dtype);
}

at::Tensor GgufFile::blocks(const std::string& name) const {
  const GgufTensorInfo& found = info(name);
  const GgmlFormat& format = ggml_format(found.type);
  std::vector<int64_t> shape = found.shape;
  if (shape.empty()) shape.push_back(1);
  shape.back() = shape.back() / format.block_size * format.block_bytes;
  return view(found, shape, at::kByte);
}

at::Tensor GgufFile::dequantise(const std::string& name) const {
  const GgufTensorInfo& found = info(name);
  const GgmlFormat& format = ggml_format(found.type);
  if (!format.to_float) {
    throw Error(fmt::format("{}: tensor '{}' is stored as {}, which cannot be decoded",
                            path().string(), name, format.name),
                "convert the model to F16, BF16 or a common quantisation such as Q8_0 or Q4_K");
  }
  at::Tensor result = at::empty(found.shape, at::kFloat);
  const auto bytes =
      mapping_->file.bytes().subspan(static_cast<size_t>(mapping_->header.data_begin + found.begin),
                                     static_cast<size_t>(found.end - found.begin));
  float* const values = result.mutable_data_ptr<float>();
  const int64_t grain = std::max<int64_t>(kDecodeGrain / format.block_size, 1);
  at::parallel_for(
      0, found.begin == found.end ? 0 : result.numel() / format.block_size, grain,
      [&](int64_t first, int64_t last) {
        format.to_float(reinterpret_cast<const uint8_t*>(bytes.data()) + first * format.block_bytes,
                        values + first * format.block_size, last - first);
      });
  return result;
}

}  // namespace continuo
