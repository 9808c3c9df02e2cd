// Reading .gguf files: names ↔ tensors and metadata, nothing about models. Reads by mmap; the
// header is checked in full before a byte of data is touched.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/error.h"
#include "io/gguf_metadata.h"
#include "io/stored_tensor.h"

namespace continuo {

class GgufFile {
 public:
  // Maps the file privately. Error naming the file and the field: wrong magic or version,
  // truncated, counts or lengths beyond the file, duplicate names, unknown types, misaligned or
  // overlapping tensors.
  explicit GgufFile(const std::filesystem::path& path);

  // Reads the same mapped bytes anew, whatever stands at the path by then: a header is large where
  // it brings a vocabulary, and need not be kept.
  std::function<GgufFile()> again() const;

  const std::filesystem::path& path() const;
  const GgufMetadata& metadata() const;
  const std::map<std::string, GgufTensorInfo>& tensors() const;

  // Metadata by key; nothing when the key is missing. Error naming file, key and type: a value of
  // another type. Whole numbers and reals may be of any width.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> flag(std::string_view key) const;
  std::optional<std::string_view> text(std::string_view key) const;
  // Elements exactly of type T; null when the key is missing.
  template <class T>
  const std::vector<T>* array(std::string_view key) const;

  // F32, F16, BF16, F64 and the integers: a tensor of the file's shape over the mapping (kept alive
  // by it; a copy where the file left it unaligned). Writes are private to the process. Error:
  // unknown name, a quantised type.
  at::Tensor tensor(const std::string& name) const;
  // The bytes of a tensor of any type over the mapping: [..., bytes of a row] uint8.
  at::Tensor blocks(const std::string& name) const;
  // A new tensor of the file's shape, float. Error: unknown name, a type that cannot be decoded.
  at::Tensor dequantise(const std::string& name) const;
  // F32, F16 and BF16 as they are, the rest decoded when it is read. Not to be written to.
  StoredTensor stored(const std::string& name) const;

 private:
  struct Mapping;

  explicit GgufFile(std::shared_ptr<Mapping> mapping) : mapping_(std::move(mapping)) {}
  const GgufTensorInfo& info(const std::string& name) const;
  at::Tensor view(const GgufTensorInfo& info, at::IntArrayRef shape, at::ScalarType dtype) const;
  const GgmlFormat& decodable(const std::string& name) const;
  [[noreturn]] void wrong_type(std::string_view key, const GgufValue& value,
                               std::string_view wanted) const;

  std::shared_ptr<Mapping> mapping_;
};

template <class T>
const std::vector<T>* GgufFile::array(std::string_view key) const {
  const GgufValue* const value = find_gguf_value(metadata(), key);
  if (!value) return nullptr;
  const auto* const array = std::get_if<GgufArray>(value);
  const auto* const elements = array ? std::get_if<std::vector<T>>(array) : nullptr;
  if (!elements) wrong_type(key, *value, gguf_type_name(GgufArray(std::vector<T>())));
  return elements;
}

}  // namespace continuo
