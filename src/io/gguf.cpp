#include "io/gguf.h"

#include <limits>
#include <type_traits>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "core/mapped_file.h"
#include "io/gguf_header.h"
#include "io/mapped_tensor.h"

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
  Mapping(const std::filesystem::path& where, std::shared_ptr<MappedFile> mapped)
      : path(where),
        file(std::move(mapped)),
        header(parse_gguf_header(file->bytes(), where.string())) {
    file->release(0, static_cast<size_t>(header.data_begin));  // it is in memory twice now
  }

  std::filesystem::path path;
  // Private: optimizers may update loaded weights in place without touching the file.
  std::shared_ptr<MappedFile> file;
  GgufHeader header;
};

GgufFile::GgufFile(const std::filesystem::path& path)
    : mapping_(std::make_shared<Mapping>(
          path, std::make_shared<MappedFile>(path, MappedFile::Mode::kPrivate))) {}

std::function<GgufFile()> GgufFile::again() const {
  return [path = mapping_->path, file = mapping_->file] {
    return GgufFile(std::make_shared<Mapping>(path, file));
  };
}

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

at::Tensor GgufFile::view(const GgufTensorInfo& info, at::IntArrayRef shape,
                          at::ScalarType dtype) const {
  return mapped_tensor(mapping_->file, mapping_->header.data_begin + info.begin, shape, dtype);
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

namespace {

// [..., bytes of a row].
std::vector<int64_t> block_shape(const GgufTensorInfo& info) {
  const GgmlFormat& format = ggml_format(info.type);
  std::vector<int64_t> shape = info.shape;
  if (shape.empty()) shape.push_back(1);
  shape.back() = shape.back() / format.block_size * format.block_bytes;
  return shape;
}

at::Tensor decode(const GgmlFormat& format, const at::Tensor& blocks, at::IntArrayRef shape) {
  at::Tensor result = at::empty(shape, at::kFloat);
  const uint8_t* const bytes = blocks.const_data_ptr<uint8_t>();
  float* const values = result.mutable_data_ptr<float>();
  const int64_t grain = std::max<int64_t>(kDecodeGrain / format.block_size, 1);
  at::parallel_for(0, result.numel() / format.block_size, grain, [&](int64_t first, int64_t last) {
    format.to_float(bytes + first * format.block_bytes, values + first * format.block_size,
                    last - first);
  });
  return result;
}

}  // namespace

const GgmlFormat& GgufFile::decodable(const std::string& name) const {
  const GgmlFormat& format = ggml_format(info(name).type);
  if (!format.to_float) {
    throw Error(fmt::format("{}: tensor '{}' is stored as {}, which cannot be decoded",
                            path().string(), name, format.name),
                "convert the model to F16, BF16 or a common quantisation such as Q8_0 or Q4_K");
  }
  return format;
}

at::Tensor GgufFile::blocks(const std::string& name) const {
  const GgufTensorInfo& found = info(name);
  return view(found, block_shape(found), at::kByte);
}

at::Tensor GgufFile::dequantise(const std::string& name) const {
  return decode(decodable(name), blocks(name), info(name).shape);
}

StoredTensor GgufFile::stored(const std::string& name) const {
  const GgufTensorInfo& found = info(name);
  const std::vector<int64_t>& shape = found.shape;
  const std::shared_ptr<MappedFile>& file = mapping_->file;
  const int64_t begin = mapping_->header.data_begin + found.begin;
  if (found.type == GgmlType::kF32 || found.type == GgmlType::kF16 ||
      found.type == GgmlType::kBF16) {
    const at::ScalarType dtype = *plain_dtype(found.type);
    return {.shape = shape,
            .whole = [=] { return mapped_tensor(file, begin, shape, dtype); },
            .rows = passing_rows(file, begin, shape, dtype)};
  }
  const GgmlFormat& format = decodable(name);
  const StoredTensor::Rows blocks = passing_rows(file, begin, block_shape(found), at::kByte);
  const auto rows = [blocks, shape, &format](int64_t first, int64_t last) {
    std::vector<int64_t> part = shape;
    part[0] = last - first;
    return decode(format, blocks(first, last), part);
  };
  return {.shape = shape,
          .whole = [rows, shape] { return rows(0, shape.at(0)); },
          .rows = rows,
          .blocks = StoredTensor::Blocks{found.type, blocks}};
}

}  // namespace continuo
