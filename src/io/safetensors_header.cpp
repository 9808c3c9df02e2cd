#include "io/safetensors_header.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <optional>
#include <set>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace continuo {
namespace {

constexpr std::array<std::pair<std::string_view, at::ScalarType>, 15> kDtypes{{
    {"F64", at::kDouble},
    {"F32", at::kFloat},
    {"F16", at::kHalf},
    {"BF16", at::kBFloat16},
    {"F8_E4M3", at::kFloat8_e4m3fn},
    {"F8_E5M2", at::kFloat8_e5m2},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U64", at::kUInt64},
    {"U32", at::kUInt32},
    {"U16", at::kUInt16},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
}};
constexpr std::string_view kMetadataKey = "__metadata__";
constexpr size_t kMaxTensorDims = 64;  // what torch's own tensor iterators accept

// Follows the JSON event by event and accepts nothing but the grammar of the format, so that depth,
// duplicate keys and number types are checked without ever building a document.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool start_object(size_t) override {
    switch (state_) {
      case State::kDocument:
        return enter(State::kTop);
      case State::kTop:
        dtype_.reset();
        shape_.reset();
        offsets_.reset();
        return enter(name_ == kMetadataKey ? State::kMetadata : State::kTensor);
      default:
        wrong("an object");
    }
  }

  bool key(std::string& key) override {
    if (state_ == State::kTop) {
      if (!names_.insert(key).second) broken("the name '{}' comes twice", key);
      name_ = key;
      return true;
    }
    field_ = key;
    if (state_ == State::kMetadata) {
      if (header_.metadata.contains(key)) broken("metadata key '{}' comes twice", key);
      return true;
    }
    const bool again = (key == "dtype" && dtype_) || (key == "shape" && shape_) ||
                       (key == "data_offsets" && offsets_);
    if (again) broken("tensor '{}' has '{}' twice", name_, key);
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      broken("tensor '{}' has the unknown field '{}'", name_, key);
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::kTop) return enter(State::kDone);
    if (state_ == State::kTensor) add_tensor();
    return enter(State::kTop);
  }

  bool start_array(size_t) override {
    if (state_ == State::kTensor && field_ == "shape") {
      shape_.emplace();
      return enter(State::kShape);
    }
    if (state_ == State::kTensor && field_ == "data_offsets") {
      offsets_.emplace();
      return enter(State::kOffsets);
    }
    wrong("a list");
  }

  bool end_array() override { return enter(State::kTensor); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ != State::kShape && state_ != State::kOffsets) wrong("a number");
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) wrong("a huge number");
    auto& list = state_ == State::kShape ? *shape_ : *offsets_;
    if (list.size() == (state_ == State::kShape ? kMaxTensorDims : 2)) wrong("too long a list");
    list.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (state_ == State::kMetadata) {
      header_.metadata.emplace(field_, value);
      return true;
    }
    if (state_ != State::kTensor || field_ != "dtype") wrong("a string");
    const auto* row = std::find_if(kDtypes.begin(), kDtypes.end(),
                                   [&](const auto& entry) { return entry.first == value; });
    if (row == kDtypes.end()) broken("tensor '{}' has the unknown dtype '{}'", name_, value);
    dtype_ = row->second;
    return true;
  }

  bool null() override { wrong("null"); }
  bool boolean(bool) override { wrong("a boolean"); }
  bool number_integer(number_integer_t) override { wrong("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    wrong("a non-integer or huge number");
  }
  bool binary(binary_t&) override { wrong("binary data"); }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    broken("not valid JSON at byte {} of the header", position);
  }

 private:
  enum class State { kDocument, kTop, kMetadata, kTensor, kShape, kOffsets, kDone };

  bool enter(State state) {
    state_ = state;
    return true;
  }

  template <class... Args>
  [[noreturn]] void broken(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: bad safetensors header: {}", file_, fmt::format(format, std::forward<Args>(args)...));
  }

  [[noreturn]] void wrong(std::string_view what) const {
    switch (state_) {
      case State::kMetadata:
        broken("metadata '{}' is {} instead of a string", field_, what);
      case State::kTensor:
        broken("tensor '{}': '{}' holds {}", name_, field_, what);
      case State::kShape:
        broken("tensor '{}': 'shape' holds {}", name_, what);
      case State::kOffsets:
        broken("tensor '{}': 'data_offsets' holds {}", name_, what);
      default:
        broken("{} where an object belongs", what);
    }
  }

  void add_tensor() {
    if (!dtype_) broken("tensor '{}' has no 'dtype'", name_);
    if (!shape_) broken("tensor '{}' has no 'shape'", name_);
    if (!offsets_ || offsets_->size() != 2) broken("tensor '{}' has no pair 'data_offsets'", name_);
    TensorInfo info{*dtype_, *shape_, (*offsets_)[0], (*offsets_)[1]};
    if (info.begin > info.end) broken("tensor '{}' ends before it begins", name_);

    // Zero dimensions are left out of the overflow check's product: strides multiply the others.
    int64_t bytes = static_cast<int64_t>(c10::elementSize(info.dtype));
    bool empty = false, overflow = false;
    for (int64_t dim : info.shape) {
      empty = empty || dim == 0;
      overflow = overflow || __builtin_mul_overflow(bytes, std::max<int64_t>(dim, 1), &bytes);
    }
    if (overflow) broken("the size of tensor '{}' overflows", name_);
    if (empty) bytes = 0;
    if (info.end - info.begin != bytes) {
      broken("tensor '{}' needs {} bytes by dtype and shape, data_offsets give {}", name_, bytes,
             info.end - info.begin);
    }
    header_.tensors.emplace(name_, std::move(info));
  }

  const std::string& file_;
  State state_ = State::kDocument;
  std::string name_, field_;
  std::set<std::string> names_;
  std::optional<at::ScalarType> dtype_;
  std::optional<std::vector<int64_t>> shape_, offsets_;
  SafetensorsHeader header_;
};

// The tensors must tile the data section: nothing overlaps, nothing is left over.
void check_layout(const SafetensorsHeader& header, int64_t data_bytes, const std::string& file) {
  std::vector<std::pair<const std::string*, const TensorInfo*>> order;
  order.reserve(header.tensors.size());
  for (const auto& [name, info] : header.tensors) order.emplace_back(&name, &info);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  int64_t end = 0;
  for (const auto& [name, info] : order) {
    if (info->begin != end) {
      fail(
          "{}: bad safetensors header: tensor '{}' begins at byte {}, {} bytes were expected "
          "before it "
          "(overlap or hole)",
          file, *name, info->begin, end);
    }
    end = info->end;
    if (end > data_bytes) {
      fail("{}: the file is truncated: tensor '{}' ends at data byte {}, the file has {}", file,
           *name, end, data_bytes);
    }
  }
  if (end != data_bytes) {
    fail("{}: bad safetensors file: {} bytes follow the last tensor", file, data_bytes - end);
  }
}

std::string quoted(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("a name or metadata value for safetensors is not valid UTF-8");
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, int64_t data_bytes,
                                           const std::string& file) {
  if (!json.starts_with('{')) fail("{}: bad safetensors header: it does not begin with '{{'", file);
  // The parser takes a zero byte for the end of its input.
  if (const size_t zero = json.find('\0'); zero != json.npos) {
    fail("{}: bad safetensors header: not valid JSON at byte {} of the header", file, zero);
  }
  HeaderReader reader(file);
  nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  SafetensorsHeader header = reader.take();
  check_layout(header, data_bytes, file);
  return header;
}

std::vector<std::pair<std::string, TensorInfo>> safetensors_layout(
    std::vector<TensorOutline> tensors, const std::string& file) {
  for (const TensorOutline& tensor : tensors) {
    if (safetensors_dtype_name(tensor.dtype).empty()) {
      fail("{}: tensor '{}' has dtype {}, which safetensors cannot hold", file, tensor.name,
           c10::toString(tensor.dtype));
    }
  }
  std::ranges::stable_sort(tensors, std::greater(),
                           [](const TensorOutline& t) { return c10::elementSize(t.dtype); });
  std::vector<std::pair<std::string, TensorInfo>> layout;
  int64_t begin = 0;
  for (TensorOutline& tensor : tensors) {
    auto bytes = static_cast<int64_t>(c10::elementSize(tensor.dtype));
    for (const int64_t size : tensor.shape) bytes *= size;
    layout.emplace_back(std::move(tensor.name),
                        TensorInfo{tensor.dtype, std::move(tensor.shape), begin, begin + bytes});
    begin += bytes;
  }
  return layout;
}

std::string encode_safetensors_header(
    const std::vector<std::pair<std::string, TensorInfo>>& tensors,
    const std::map<std::string, std::string>& metadata) {
  std::string json = "{";
  if (!metadata.empty()) {
    json += quoted(std::string(kMetadataKey)) + ":{";
    for (const auto& [key, value] : metadata) {
      if (json.back() != '{') json += ',';
      json += quoted(key) + ':' + quoted(value);
    }
    json += '}';
  }
  std::set<std::string_view> names{kMetadataKey};
  for (const auto& [name, info] : tensors) {
    if (!names.insert(name).second) fail("safetensors cannot hold the name '{}' twice", name);
    if (json.size() > 1) json += ',';
    json += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        quoted(name), safetensors_dtype_name(info.dtype),
                        fmt::join(info.shape, ","), info.begin, info.end);
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  return json;
}

std::string_view safetensors_dtype_name(at::ScalarType dtype) {
  for (const auto& [name, type] : kDtypes) {
    if (type == dtype) return name;
  }
  return {};
}

}  // namespace continuo
