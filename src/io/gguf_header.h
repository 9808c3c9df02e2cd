// The header of a GGUF file (versions 2 and 3, little-endian): every count, length, offset and type
// is checked against the file before anything is allocated or touched.
// Format: "GGUF" | u32 version | u64 tensors | u64 keys | keys and values | tensor infos | padding
// | data (ggml, docs/gguf.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "io/gguf_metadata.h"

namespace continuo {

struct GgufHeader {
  uint32_t version = 0;
  GgufMetadata metadata;
  std::map<std::string, GgufTensorInfo> tensors;
  int64_t alignment = kGgufAlignment;
  int64_t data_begin = 0;  // from the start of the file
};

// `bytes` is the whole file, `file` its name in errors.
GgufHeader parse_gguf_header(std::span<const std::byte> bytes, const std::string& file);

}  // namespace continuo
