#include "io/gguf_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <set>
#include <type_traits>

#include "core/error.h"
#include "core/utf8.h"

namespace continuo {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr uint32_t kMaxDims = 4;  // what ggml has
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMinEntryBytes = 13, kMinTensorBytes = 24;  // as short as they can be
constexpr uint32_t kArrayType = 9;

// Calls `action(std::type_identity<T>{})` with the value type of a type number.
template <class Action>
bool with_type(uint32_t type, Action&& action) {
  return [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
    return ((type == kIndex &&
             (action(std::type_identity<std::variant_alternative_t<kIndex, GgufValue>>{}), true)) ||
            ...);
  }(std::make_index_sequence<std::variant_size_v<GgufValue>>{});
}

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  GgufHeader parse() {
    check_start();
    header_.version = number<uint32_t>("the version");
    check_version();
    const auto tensors = number<uint64_t>("the number of tensors");
    const auto keys = number<uint64_t>("the number of keys");
    check_count(tensors, kMinTensorBytes, "tensors");
    check_count(keys, kMinEntryBytes, "keys");
    for (uint64_t i = 0; i < keys; ++i) read_entry();
    for (uint64_t i = 0; i < tensors; ++i) read_tensor();
    read_alignment();
    const auto alignment = static_cast<size_t>(header_.alignment);
    header_.data_begin = static_cast<int64_t>((position_ + alignment - 1) / alignment * alignment);
    check_layout();
    return std::move(header_);
  }

 private:
  template <class... Args>
  [[noreturn]] void broken(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: bad GGUF file: {}", file_, fmt::format(format, std::forward<Args>(args)...));
  }

  uint64_t left() const { return bytes_.size() - position_; }

  std::span<const std::byte> take(uint64_t size, std::string_view what) {
    if (size > left()) {
      fail("{}: the file is truncated: {} would take {} bytes, {} are left", file_, what, size,
           left());
    }
    const auto part = bytes_.subspan(position_, size);
    position_ += size;
    return part;
  }

  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }

  std::string string(std::string_view what) {
    const auto length = number<uint64_t>(what);
    const auto part = take(length, what);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  // Keys and tensor names go into errors, maps and other files.
  std::string name(std::string_view what) {
    std::string text = string(what);
    if (text.size() > kMaxKeyBytes) broken("{} has {} bytes", what, text.size());
    if (find_invalid_utf8(text)) broken("{} is not valid UTF-8", what);
    return text;
  }

  void check_start() const {
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
    if (text.starts_with("version https://git-lfs")) {
      throw Error(file_ + ": a Git LFS pointer instead of the weights", "run `git lfs pull` there");
    }
    if (!text.starts_with(kMagic)) fail("{}: not a GGUF file: it does not begin with GGUF", file_);
  }

  void check_version() const {
    if (header_.version == 2 || header_.version == 3) return;
    if ((header_.version & 0xffffU) == 0) {
      throw Error(file_ + ": a big-endian GGUF file", "convert it to little-endian");
    }
    throw Error(fmt::format("{}: GGUF version {} is not supported", file_, header_.version),
                "versions 2 and 3 are; convert the model again with a current llama.cpp");
  }

  void check_count(uint64_t count, uint64_t least, std::string_view what) const {
    if (count > left() / least) {
      broken("{} {} cannot fit in the {} bytes that follow", count, what, left());
    }
  }

  template <class T>
  T value(std::string_view what) {
    if constexpr (std::is_same_v<T, std::string>) {
      return string(what);
    } else if constexpr (std::is_same_v<T, bool>) {
      const auto byte = number<uint8_t>(what);
      if (byte > 1) broken("{} is a bool of value {}", what, byte);
      return byte == 1;
    } else {
      return number<T>(what);
    }
  }

  GgufArray array(std::string_view what) {
    const auto type = number<uint32_t>(what);
    const auto count = number<uint64_t>(what);
    if (type == kArrayType) broken("{} is an array of arrays, which is not supported", what);
    GgufArray result;
    const bool known = with_type(type, [&]<class T>(std::type_identity<T>) {
      if constexpr (!std::is_same_v<T, GgufArray>) {
        const uint64_t least = std::is_same_v<T, std::string> ? sizeof(uint64_t) : sizeof(T);
        if (count > left() / least) {
          fail("{}: the file is truncated: {} has {} elements, {} bytes are left", file_, what,
               count, left());
        }
        std::vector<T> elements;
        elements.reserve(count);
        for (uint64_t i = 0; i < count; ++i) elements.push_back(value<T>(what));
        result = std::move(elements);
      }
    });
    if (!known) broken("{} is an array of the unknown type {}", what, type);
    return result;
  }

  void read_entry() {
    std::string key = name("a metadata key");
    if (key.empty()) broken("an empty metadata key");
    if (!keys_.insert(key).second) broken("the key '{}' comes twice", key);
    const std::string what = "the value of '" + key + "'";
    const auto type = number<uint32_t>(what);
    const bool known = with_type(type, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_same_v<T, GgufArray>) {
        header_.metadata.emplace_back(std::move(key), array(what));
      } else {
        header_.metadata.emplace_back(std::move(key), value<T>(what));
      }
    });
    if (!known) broken("{} has the unknown type {}", what, type);
  }

  void read_tensor() {
    const std::string tensor = name("a tensor's name");
    if (header_.tensors.contains(tensor)) broken("the tensor '{}' comes twice", tensor);
    const std::string what = "the description of tensor '" + tensor + "'";
    const auto dims = number<uint32_t>(what);
    if (dims > kMaxDims)
      broken("tensor '{}' has {} dimensions, at most 4 are allowed", tensor, dims);
    GgufTensorInfo info;
    for (uint32_t i = 0; i < dims; ++i) {
      const auto dim = number<uint64_t>(what);
      if (dim > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        broken("tensor '{}' has a dimension of {}", tensor, dim);
      }
      info.shape.insert(info.shape.begin(), static_cast<int64_t>(dim));
    }
    const auto type = number<uint32_t>(what);
    const GgmlFormat* const format = find_ggml_format(type);
    if (!format) {
      throw Error(fmt::format("{}: tensor '{}' has the unknown type {}", file_, tensor, type),
                  "convert the model to F16, BF16 or a common quantisation such as Q8_0 or Q4_K");
    }
    info.type = format->type;
    const auto offset = number<uint64_t>(what);
    const int64_t bytes = size_of(tensor, info, *format);
    if (offset > static_cast<uint64_t>(std::numeric_limits<int64_t>::max() - bytes)) {
      broken("tensor '{}' has the offset {}", tensor, offset);
    }
    info.begin = static_cast<int64_t>(offset);
    info.end = info.begin + bytes;
    header_.tensors.emplace(tensor, std::move(info));
  }

  // Zero dimensions count as one in the overflow check: strides multiply the others.
  int64_t size_of(const std::string& tensor, const GgufTensorInfo& info,
                  const GgmlFormat& format) const {
    const int64_t row = info.shape.empty() ? 1 : info.shape.back();
    if (row % format.block_size != 0) {
      broken("tensor '{}' has rows of {} values, {} needs a multiple of {}", tensor, row,
             format.name, format.block_size);
    }
    bool empty = false, overflow = false;
    int64_t values = 1, bytes = 0;
    for (const int64_t dim : info.shape) {
      empty = empty || dim == 0;
      overflow = overflow || __builtin_mul_overflow(values, std::max<int64_t>(dim, 1), &values);
    }
    // Decoded, every value takes four bytes.
    overflow = overflow || __builtin_mul_overflow(values, int64_t{8}, &bytes);
    if (overflow) broken("the size of tensor '{}' overflows", tensor);
    return empty ? 0 : values / format.block_size * format.block_bytes;
  }

  void read_alignment() {
    const GgufValue* const value = find_gguf_value(header_.metadata, kGgufAlignmentKey);
    if (!value) return;
    const auto* const alignment = std::get_if<uint32_t>(value);
    if (!alignment || !std::has_single_bit(*alignment)) {
      broken("'{}' is not a power of two of type u32", kGgufAlignmentKey);
    }
    header_.alignment = *alignment;
  }

  void check_layout() const {
    const int64_t data_bytes =
        std::max<int64_t>(static_cast<int64_t>(bytes_.size()) - header_.data_begin, 0);
    std::vector<std::pair<const std::string*, const GgufTensorInfo*>> order;
    order.reserve(header_.tensors.size());
    for (const auto& [tensor, info] : header_.tensors) {
      if (info.begin % header_.alignment != 0) {
        broken("tensor '{}' begins at byte {}, which is not a multiple of {}", tensor, info.begin,
               header_.alignment);
      }
      if (info.end > data_bytes) {
        fail("{}: the file is truncated: tensor '{}' ends at data byte {}, the file has {}", file_,
             tensor, info.end, data_bytes);
      }
      if (info.begin != info.end) order.emplace_back(&tensor, &info);
    }
    std::sort(order.begin(), order.end(),
              [](const auto& a, const auto& b) { return a.second->begin < b.second->begin; });
    for (size_t i = 1; i < order.size(); ++i) {
      if (order[i].second->begin < order[i - 1].second->end) {
        broken("the tensors '{}' and '{}' overlap", *order[i - 1].first, *order[i].first);
      }
    }
  }

  std::span<const std::byte> bytes_;
  size_t position_ = kMagic.size();
  const std::string& file_;
  std::set<std::string, std::less<>> keys_;
  GgufHeader header_;
};

constexpr std::string_view kTypeNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                           "bool", "string", "array", "u64", "i64", "f64"};

}  // namespace

GgufHeader parse_gguf_header(std::span<const std::byte> bytes, const std::string& file) {
  return Parser(bytes, file).parse();
}

const GgufValue* find_gguf_value(const GgufMetadata& metadata, std::string_view key) {
  for (const auto& [name, value] : metadata) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::string gguf_type_name(const GgufValue& value) {
  if (const auto* const array = std::get_if<GgufArray>(&value)) {
    return fmt::format("array of {}", kTypeNames[array->index()]);
  }
  return std::string(kTypeNames[value.index()]);
}

}  // namespace continuo
