#include "io/gguf_writer.h"

#include <algorithm>
#include <set>
#include <span>
#include <type_traits>

#include <ATen/Parallel.h>

#include "core/error.h"
#include "core/utf8.h"
#include "io/output_file.h"

namespace continuo {
namespace {

constexpr uint32_t kVersion = 3;
constexpr int64_t kMaxGgufDims = 4;
constexpr size_t kMaxTensorName = 63;  // GGML_MAX_NAME less its terminating zero
constexpr size_t kMaxKey = 65535;
constexpr int64_t kChunkValues = 4 << 20;  // converted at a time
constexpr int64_t kEncodeGrain = 1 << 14;  // per task

// dtypes that are written as they are.
struct Verbatim {
  GgmlType type;
  at::ScalarType dtype;
};
constexpr Verbatim kVerbatim[] = {
    {GgmlType::kF32, at::kFloat},  {GgmlType::kF16, at::kHalf}, {GgmlType::kBF16, at::kBFloat16},
    {GgmlType::kF64, at::kDouble}, {GgmlType::kI8, at::kChar},  {GgmlType::kI16, at::kShort},
    {GgmlType::kI32, at::kInt},    {GgmlType::kI64, at::kLong},
};

bool is_verbatim(const GgufTensor& entry) {
  return std::ranges::any_of(kVerbatim, [&](const Verbatim& row) {
    return row.type == entry.type && row.dtype == entry.tensor.scalar_type();
  });
}

int64_t padding(uint64_t position) {
  const auto over = static_cast<int64_t>(position % kGgufAlignment);
  return over == 0 ? 0 : kGgufAlignment - over;
}

int64_t byte_size(const GgufTensor& entry) {
  const GgmlFormat& format = ggml_format(entry.type);
  return entry.tensor.numel() / format.block_size * format.block_bytes;
}

void check_name(const std::string& file, std::string_view what, const std::string& name,
                size_t longest, std::set<std::string_view>& names) {
  if (name.empty()) fail("{}: {} without a name", file, what);
  if (name.size() > longest) {
    fail("{}: the name of {} '{}' is longer than {} bytes", file, what, name, longest);
  }
  if (find_invalid_utf8(name)) fail("{}: the name of {} is not valid UTF-8", file, what);
  if (!names.insert(name).second) fail("{}: GGUF cannot hold {} '{}' twice", file, what, name);
}

void check_tensor(const std::string& file, const GgufTensor& entry) {
  if (!entry.tensor.defined()) fail("{}: tensor '{}' is not defined", file, entry.name);
  const GgmlFormat& format = ggml_format(entry.type);
  const at::ScalarType dtype = entry.tensor.scalar_type();
  const bool real = at::isFloatingType(dtype) || at::isIntegralType(dtype, /*includeBool=*/false);
  if (!is_verbatim(entry) && (!format.from_float || !real)) {
    fail("{}: tensor '{}' of dtype {} cannot be written as {}", file, entry.name,
         c10::toString(dtype), format.name);
  }
  if (entry.tensor.dim() > kMaxGgufDims) {
    fail("{}: tensor '{}' has {} dimensions, GGUF holds at most {}", file, entry.name,
         entry.tensor.dim(), kMaxGgufDims);
  }
  const int64_t row = entry.tensor.dim() == 0 ? 1 : entry.tensor.size(-1);
  if (row % format.block_size != 0) {
    fail("{}: tensor '{}' has rows of {} values, {} needs a multiple of {}", file, entry.name, row,
         format.name, format.block_size);
  }
  if (entry.blocks.defined() && static_cast<int64_t>(entry.blocks.nbytes()) != byte_size(entry)) {
    fail("{}: tensor '{}' has {} bytes of blocks, {} needs {}", file, entry.name,
         entry.blocks.nbytes(), format.name, byte_size(entry));
  }
}

void check_all(const std::string& file, const GgufMetadata& metadata,
               const std::vector<GgufTensor>& tensors) {
  std::set<std::string_view> keys, names;
  for (const auto& [key, value] : metadata) {
    check_name(file, "key", key, kMaxKey, keys);
    const auto* const array = std::get_if<GgufArray>(&value);
    if (array && std::holds_alternative<GgufNested>(*array)) {
      fail("{}: the key '{}' holds an array of arrays", file, key);
    }
    if (key == kGgufAlignmentKey && value != GgufValue(static_cast<uint32_t>(kGgufAlignment))) {
      fail("{}: '{}' must be {} of type u32", file, key, kGgufAlignment);
    }
  }
  for (const GgufTensor& entry : tensors) {
    check_name(file, "tensor", entry.name, kMaxTensorName, names);
    check_tensor(file, entry);
  }
}

class HeaderWriter {
 public:
  template <class T>
  void put(const T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      put(static_cast<uint64_t>(value.size()));
      bytes_ += value;
    } else {
      static_assert(std::is_arithmetic_v<T>);
      bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
  }

  void put(const GgufArray& array) {
    put(static_cast<uint32_t>(array.index()));
    std::visit(
        [&]<class T>(const T& elements) {
          if constexpr (!std::is_same_v<T, GgufNested>) {
            put(static_cast<uint64_t>(elements.size()));
            for (const auto& element : elements) put<typename T::value_type>(element);
          }
        },
        array);
  }

  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_ = "GGUF";
};

std::string encode_header(const GgufMetadata& metadata, const std::vector<GgufTensor>& tensors) {
  HeaderWriter header;
  header.put(kVersion);
  header.put(static_cast<uint64_t>(tensors.size()));
  header.put(static_cast<uint64_t>(metadata.size()));
  for (const auto& [key, value] : metadata) {
    header.put(key);
    header.put(static_cast<uint32_t>(value.index()));
    std::visit([&](const auto& content) { header.put(content); }, value);
  }
  uint64_t offset = 0;
  for (const GgufTensor& entry : tensors) {
    header.put(entry.name);
    header.put(static_cast<uint32_t>(entry.tensor.dim()));
    for (int64_t i = entry.tensor.dim() - 1; i >= 0; --i) {
      header.put(static_cast<uint64_t>(entry.tensor.size(i)));
    }
    header.put(static_cast<uint32_t>(entry.type));
    header.put(offset);
    offset += static_cast<uint64_t>(byte_size(entry));
    offset += static_cast<uint64_t>(padding(offset));
  }
  return header.take();
}

// All of `values` as blocks.
void convert(const GgufTensor& entry, std::span<const float> values, std::vector<std::byte>& blocks,
             const std::string& file) {
  const GgmlFormat& format = ggml_format(entry.type);
  const auto block_size = static_cast<size_t>(format.block_size);
  const auto block_bytes = static_cast<size_t>(format.block_bytes);
  const size_t count = values.size() / block_size;
  blocks.resize(count * block_bytes);
  const int64_t grain = std::max<int64_t>(kEncodeGrain / format.block_size, 1);
  try {
    at::parallel_for(0, static_cast<int64_t>(count), grain, [&](int64_t first, int64_t last) {
      const auto begin = static_cast<size_t>(first), size = static_cast<size_t>(last - first);
      quantise(entry.type, values.subspan(begin * block_size, size * block_size),
               std::span(blocks).subspan(begin * block_bytes, size * block_bytes));
    });
  } catch (const Error& error) {
    fail("{}: tensor '{}': {}", file, entry.name, error.what());
  }
}

// In chunks of whole blocks, so that a large tensor needs no second copy of itself as float.
void write_tensor(OutputFile& file, const GgufTensor& entry, const std::string& name) {
  if (entry.blocks.defined()) {
    const at::Tensor bytes = entry.blocks.contiguous();
    file.write(bytes.const_data_ptr(), bytes.nbytes());
    return;
  }
  const at::Tensor flat = entry.tensor.detach().reshape({-1});
  if (is_verbatim(entry)) {
    const at::Tensor bytes = flat.cpu();
    file.write(bytes.const_data_ptr(), bytes.nbytes());
    return;
  }
  std::vector<std::byte> blocks;
  for (int64_t begin = 0; begin < flat.numel(); begin += kChunkValues) {
    const int64_t size = std::min(kChunkValues, flat.numel() - begin);
    const at::Tensor chunk = flat.narrow(0, begin, size).cpu().to(at::kFloat);
    convert(entry, {chunk.const_data_ptr<float>(), static_cast<size_t>(size)}, blocks, name);
    file.write(blocks.data(), blocks.size());
  }
}

}  // namespace

void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                const std::vector<GgufTensor>& tensors) {
  const std::string name = path.string();
  check_all(name, metadata, tensors);
  OutputFile file(path);
  file.write(encode_header(metadata, tensors));
  const std::string zeros(kGgufAlignment, '\0');
  const auto pad = [&] { file.write(zeros.data(), static_cast<size_t>(padding(file.written()))); };
  pad();
  for (const GgufTensor& entry : tensors) {
    write_tensor(file, entry, name);
    pad();
  }
  file.close();
}

}  // namespace continuo
