#include "io/torch_state_dict.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string_view>

#include <fmt/ranges.h>

#include "core/error.h"
#include "core/utf8.h"
#include "io/pickle.h"

namespace continuo {
namespace {

using Kind = PickleNode::Kind;
using Names = std::pair<std::string_view, at::ScalarType>;

constexpr size_t kMaxTorchDims = 64;  // what torch's own tensor iterators accept
constexpr int kMaxNesting = 8;

// Storage classes by the name they are saved under; untyped ones count bytes.
constexpr std::array<Names, 16> kStorages{{
    {"torch.FloatStorage", at::kFloat},
    {"torch.DoubleStorage", at::kDouble},
    {"torch.HalfStorage", at::kHalf},
    {"torch.BFloat16Storage", at::kBFloat16},
    {"torch.LongStorage", at::kLong},
    {"torch.IntStorage", at::kInt},
    {"torch.ShortStorage", at::kShort},
    {"torch.CharStorage", at::kChar},
    {"torch.ByteStorage", at::kByte},
    {"torch.BoolStorage", at::kBool},
    {"torch.ComplexFloatStorage", at::kComplexFloat},
    {"torch.ComplexDoubleStorage", at::kComplexDouble},
    {"torch.storage.UntypedStorage", at::kByte},
    {"torch.storage._UntypedStorage", at::kByte},
    {"torch.UntypedStorage", at::kByte},
    {"torch._UntypedStorage", at::kByte},
}};

// dtypes whose tensors are saved over an untyped storage, and the others, which may stand as
// values.
constexpr std::array<Names, 18> kTorchDtypes{{
    {"torch.float32", at::kFloat},
    {"torch.float64", at::kDouble},
    {"torch.float16", at::kHalf},
    {"torch.bfloat16", at::kBFloat16},
    {"torch.float8_e4m3fn", at::kFloat8_e4m3fn},
    {"torch.float8_e5m2", at::kFloat8_e5m2},
    {"torch.int64", at::kLong},
    {"torch.int32", at::kInt},
    {"torch.int16", at::kShort},
    {"torch.int8", at::kChar},
    {"torch.uint64", at::kUInt64},
    {"torch.uint32", at::kUInt32},
    {"torch.uint16", at::kUInt16},
    {"torch.uint8", at::kByte},
    {"torch.bool", at::kBool},
    {"torch.complex64", at::kComplexFloat},
    {"torch.complex128", at::kComplexDouble},
    {"torch.float8_e8m0fnu", at::kFloat8_e8m0fnu},
}};

constexpr std::string_view kTensor = "torch._utils._rebuild_tensor";
constexpr std::string_view kTensor2 = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view kTensor3 = "torch._utils._rebuild_tensor_v3";
constexpr std::string_view kParameter = "torch._utils._rebuild_parameter";
constexpr std::string_view kParameterState = "torch._utils._rebuild_parameter_with_state";
constexpr std::string_view kSubclass = "torch._tensor._rebuild_from_type_v2";
constexpr std::string_view kSize = "torch.Size";

// Allowed to be named; what is not known below as a tensor or dictionary is left out.
constexpr std::array kOtherGlobals{kTensor,
                                   kTensor2,
                                   kTensor3,
                                   kParameter,
                                   kParameterState,
                                   kSubclass,
                                   kOrderedDict,
                                   kSize,
                                   std::string_view("torch.device"),
                                   std::string_view("torch.Tensor"),
                                   std::string_view("torch.nn.parameter.Parameter"),
                                   std::string_view("torch.storage.TypedStorage")};

constexpr std::array<std::string_view, 4> kNestedKeys{"state_dict", "model_state_dict", "model",
                                                      "module"};

template <size_t N>
std::optional<at::ScalarType> find(const std::array<Names, N>& table, std::string_view name) {
  for (const auto& [key, dtype] : table) {
    if (key == name) return dtype;
  }
  return std::nullopt;
}

bool allowed(std::string_view global) {
  return find(kStorages, global) || find(kTorchDtypes, global) ||
         std::ranges::find(kOtherGlobals, global) != kOtherGlobals.end();
}

const PickleNode* node_of(const PickleValue& value, Kind kind) {
  const auto* const pointer = std::get_if<const PickleNode*>(&value);
  return pointer && (*pointer)->kind == kind ? *pointer : nullptr;
}

// A dict or an OrderedDict; null otherwise.
const PickleNode* dictionary(const PickleValue& value) {
  if (const auto* const dict = node_of(value, Kind::kDict)) return dict;
  const auto* const call = node_of(value, Kind::kCall);
  return call && call->name == kOrderedDict && call->values.empty() ? call : nullptr;
}

const PickleValue* item(const PickleNode& dict, std::string_view key) {
  // As in Python the last one counts.
  for (auto at = dict.items.rbegin(); at != dict.items.rend(); ++at) {
    const auto* const text = std::get_if<std::string_view>(&at->first);
    if (text && *text == key) return &at->second;
  }
  return nullptr;
}

bool is_tensor(const PickleValue& value) {
  const auto* const call = node_of(value, Kind::kCall);
  return call && call->name != kOrderedDict && call->name != kSize &&
         call->name.find("rebuild") != std::string::npos;
}

// One tensor's description, read with its name for errors.
class TensorReader {
 public:
  TensorReader(const std::string& file, const std::string& name) : file_(file), name_(name) {}

  TorchTensorInfo read(const PickleValue& value) const { return read(value, 0); }

 private:
  template <class... Args>
  [[noreturn]] void broken(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: tensor '{}': {}", file_, name_, fmt::format(format, std::forward<Args>(args)...));
  }

  // Parameters and subclasses wrap the call that builds the tensor.
  TorchTensorInfo read(const PickleValue& value, int depth) const {
    const auto* const call = node_of(value, Kind::kCall);
    if (!call || depth > kMaxNesting) broken("it is not described as a tensor");
    if (call->name == kParameter || call->name == kParameterState) {
      return read(argument(call->values, 0), depth + 1);
    }
    if (call->name == kSubclass) return read_subclass(call->values);
    return build(call->name, call->values);
  }

  TorchTensorInfo read_subclass(const std::vector<PickleValue>& values) const {
    const auto* const function = node_of(argument(values, 0), Kind::kGlobal);
    const auto* const arguments = node_of(argument(values, 2), Kind::kTuple);
    if (!function || !arguments) broken("it is not described as a tensor");
    return build(function->name, arguments->values);
  }

  const PickleValue& argument(const std::vector<PickleValue>& values, size_t index) const {
    if (index >= values.size()) broken("its description has {} parts", values.size());
    return values[index];
  }

  int64_t count(const PickleValue& value, std::string_view what) const {
    const auto* const number = std::get_if<int64_t>(&value);
    if (!number || *number < 0) broken("{} is not a number ≥ 0", what);
    return *number;
  }

  std::vector<int64_t> counts(const PickleValue& value, std::string_view what) const {
    const auto* list = node_of(value, Kind::kTuple);
    if (const auto* const call = node_of(value, Kind::kCall); call && call->name == kSize) {
      list = node_of(argument(call->values, 0), Kind::kTuple);
    }
    if (!list) broken("{} is not a tuple", what);
    if (list->values.size() > kMaxTorchDims) broken("it has {} dimensions", list->values.size());
    std::vector<int64_t> result;
    for (const PickleValue& element : list->values) result.push_back(count(element, what));
    return result;
  }

  // _rebuild_tensor(storage, offset, size, stride), v2(…, requires_grad, hooks, metadata),
  // v3(…, requires_grad, hooks, dtype, metadata).
  TorchTensorInfo build(std::string_view function, const std::vector<PickleValue>& values) const {
    const bool third = function == kTensor3;
    if (!third && function != kTensor2 && function != kTensor) {
      broken("it is built by {}, which is not supported", function);
    }
    const size_t metadata = third ? 7 : 6;
    if (values.size() > metadata) {
      const auto* const dict = dictionary(values[metadata]);
      if (!dict || !dict->items.empty()) broken("it is a conjugate or negative view");
    }
    TorchTensorInfo info = read_storage(argument(values, 0));
    if (third) {
      const auto* const global = node_of(argument(values, 6), Kind::kGlobal);
      const auto dtype = global ? find(kTorchDtypes, global->name) : std::nullopt;
      if (!dtype) broken("its dtype is {}", global ? global->name : "missing");
      info.dtype = *dtype;
    }
    const int64_t offset = count(argument(values, 1), "its storage offset");
    info.shape = counts(argument(values, 2), "its size");
    info.strides = counts(argument(values, 3), "its stride");
    if (info.shape.size() != info.strides.size()) {
      broken("its size and stride have {} and {} elements", info.shape.size(), info.strides.size());
    }
    place(info, offset);
    return info;
  }

  // ('storage', class, key, location, elements)
  TorchTensorInfo read_storage(const PickleValue& value) const {
    const auto* const id = node_of(value, Kind::kPersistent);
    const auto* const tuple = id ? node_of(id->values.front(), Kind::kTuple) : nullptr;
    if (!tuple || tuple->values.size() != 5) broken("its storage is not described");
    const auto& parts = tuple->values;
    const auto* const kind = std::get_if<std::string_view>(&parts[0]);
    const auto* const storage_class = node_of(parts[1], Kind::kGlobal);
    const auto* const key = std::get_if<std::string_view>(&parts[2]);
    const auto* const location = std::get_if<std::string_view>(&parts[3]);
    if (!kind || *kind != "storage" || !storage_class || !key || !location) {
      broken("its storage is not described");
    }
    if (*location == "meta") broken("it was saved on the meta device, without data");
    const auto dtype = find(kStorages, storage_class->name);
    if (!dtype) broken("{} is not a storage", storage_class->name);
    TorchTensorInfo info{.dtype = *dtype, .shape = {}, .strides = {}, .storage = std::string(*key)};
    const int64_t elements = count(parts[4], "its number of elements");
    if (__builtin_mul_overflow(elements, static_cast<int64_t>(c10::elementSize(*dtype)),
                               &info.storage_bytes)) {
      broken("the size of its storage overflows");
    }
    return info;
  }

  // Checks that every element lies in the storage.
  void place(TorchTensorInfo& info, int64_t offset) const {
    const auto width = static_cast<int64_t>(c10::elementSize(info.dtype));
    bool empty = false, overflow = __builtin_mul_overflow(offset, width, &info.begin);
    int64_t last = offset;  // index of the last element
    info.bytes = width;
    for (size_t i = info.shape.size(); i-- > 0;) {
      const int64_t size = std::max<int64_t>(info.shape[i], 1);
      info.contiguous = info.contiguous && (size == 1 || info.strides[i] == info.bytes / width);
      int64_t reach;
      empty = empty || info.shape[i] == 0;
      overflow = overflow || __builtin_mul_overflow(size - 1, info.strides[i], &reach) ||
                 __builtin_add_overflow(last, reach, &last) ||
                 __builtin_mul_overflow(info.bytes, size, &info.bytes);
      if (overflow) break;
    }
    int64_t end = 0;
    overflow = overflow || __builtin_add_overflow(last, 1, &end) ||
               __builtin_mul_overflow(end, width, &end);
    if (overflow) broken("its size overflows");
    info.reach = empty ? 0 : end - info.begin;
    if (empty) {
      info.bytes = 0;
      info.contiguous = true;
    } else if (end > info.storage_bytes) {
      broken("it ends at byte {} of a storage of {} bytes", end, info.storage_bytes);
    }
  }

  const std::string& file_;
  const std::string& name_;
};

const PickleNode* find_tensors(const PickleValue& value, int depth) {
  const PickleNode* const dict = dictionary(value);
  if (!dict || depth > kMaxNesting) return nullptr;
  const bool holds_tensors =
      std::ranges::any_of(dict->items, [](const auto& entry) { return is_tensor(entry.second); });
  if (holds_tensors) return dict;
  for (const std::string_view key : kNestedKeys) {
    const PickleValue* const nested = item(*dict, key);
    if (!nested) continue;
    if (const PickleNode* const found = find_tensors(*nested, depth + 1)) return found;
  }
  return nullptr;
}

[[noreturn]] void fail_without_tensors(const PickleValue& root, const std::string& file) {
  std::vector<std::string> keys;
  if (const PickleNode* const dict = dictionary(root)) {
    for (const auto& entry : dict->items) {
      const auto* const key = std::get_if<std::string_view>(&entry.first);
      if (key && keys.size() < 10) keys.push_back(replace_invalid_utf8(key->substr(0, 50)));
    }
  }
  throw Error(fmt::format("{}: holds no dictionary of tensors (found the keys: {})", file,
                          keys.empty() ? "none" : fmt::format("{}", fmt::join(keys, ", "))),
              "save model.state_dict() alone");
}

}  // namespace

std::map<std::string, TorchTensorInfo> read_torch_state_dict(std::span<const std::byte> pickle,
                                                             const std::string& file) {
  const PickleDocument document = read_pickle(pickle, file, allowed);
  const PickleNode* const dict = find_tensors(document.root, 0);
  const PickleNode* const outer = dictionary(document.root);
  // An empty model is a dictionary too.
  if (!dict && !(outer && outer->items.empty())) fail_without_tensors(document.root, file);
  std::map<std::string, TorchTensorInfo> tensors;
  if (!dict) return tensors;
  for (const auto& [key, value] : dict->items) {
    if (!is_tensor(value)) continue;
    const auto* const text = std::get_if<std::string_view>(&key);
    if (!text || find_invalid_utf8(*text)) fail("{}: a tensor's name is not a string", file);
    const std::string name(*text);
    // As in Python the last one counts.
    tensors.insert_or_assign(name, TensorReader(file, name).read(value));
  }
  return tensors;
}

}  // namespace continuo
