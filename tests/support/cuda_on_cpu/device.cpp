// A device beside the CPU on machines that have none, for CONTINUO_TEST_DEVICE: its tensors lie in
// the CPU's memory, but LibTorch takes them for another device's. Operators run on the CPU; one
// that meets tensors of both devices is an error, as it is on a GPU. To LibTorch it is a device of
// somebody's own: the one kind that may be there beside the GPUs of a build with CUDA.
#include <cstdlib>
#include <string_view>
#include <unordered_map>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include "support/cuda_on_cpu/replayed_graph.h"

namespace continuo::test {

namespace {

constexpr c10::DeviceType kType = c10::kPrivateUse1;
const c10::Device kDevice(kType, 0);
// The second says that parameters may be pointed at other tensors of the device, which LibTorch
// lets known kinds of devices do alone. Operators go by the first.
const c10::DispatchKeySet kKeys({c10::DispatchKey::PrivateUse1, c10::DispatchKey::HPU});

struct Guard : c10::impl::NoOpDeviceGuardImpl<kType> {
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, kDevice);
  }
  void* getStreamNativeHandle(const c10::Stream) const override { return nullptr; }
  // Autograd has threads for each, and processes with such threads cannot fork: where tests compute
  // elsewhere there is none.
  c10::DeviceIndex deviceCount() const noexcept override {
    return c10::is_privateuse1_backend_registered() ? 1 : 0;
  }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

// Autograd asks for them.
struct Hooks : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};

// Where tests ask for it alone: LibTorch takes a device of this kind for the machine's.
const bool g_registered = [] {
  constexpr const char* kName = "emulated";
  const char* wanted = std::getenv("CONTINUO_TEST_DEVICE");
  if (!wanted || wanted != std::string_view(kName)) return false;
  static Hooks hooks;
  c10::register_privateuse1_backend(kName);
  at::RegisterPrivateUse1HooksInterface(&hooks);
  return true;
}();

struct Memory : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes > 0 ? ::operator new(bytes, std::align_val_t(64)) : nullptr;
    return {data, data, release, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  static void release(void* data) { ::operator delete(data, std::align_val_t(64)); }
};

Memory g_memory;
REGISTER_ALLOCATOR(kType, &g_memory)

at::Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &g_memory, kKeys, dtype.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides,
                         std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                         std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &g_memory, kKeys,
                                           dtype.value_or(at::kFloat));
}

// The same memory as the CPU's.
at::Tensor on_cpu(const at::Tensor& t) {
  if (!t.defined() || t.is_cpu()) return t;
  at::Tensor alias = at::from_blob(
      t.mutable_data_ptr(), t.sizes(), t.strides(), [t](void*) {},
      at::TensorOptions(t.scalar_type()).device(at::kCPU));
  if (t.unsafeGetTensorImpl()->is_wrapped_number())
    alias.unsafeGetTensorImpl()->set_wrapped_number(true);
  return alias;
}

// The same memory as the device's.
at::Tensor on_device(const at::Tensor& t) {
  if (!t.defined() || !t.is_cpu()) return t;
  const c10::Storage& held = t.storage();
  c10::DataPtr data(
      held.mutable_data(), new at::Tensor(t),
      [](void* kept) { delete static_cast<at::Tensor*>(kept); }, kDevice);
  c10::Storage storage(c10::Storage::use_byte_size_t(), held.nbytes(), std::move(data), &g_memory,
                       /*resizable=*/false);
  at::Tensor result =
      at::detail::make_tensor<c10::TensorImpl>(std::move(storage), kKeys, t.dtype());
  result.unsafeGetTensorImpl()->set_sizes_and_strides(t.sizes(), t.strides(), t.storage_offset());
  return result;
}

bool g_recording = false;

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  TORCH_CHECK(!g_recording || from.is_cpu() == to.is_cpu(),
              "the host and the device exchange something while a graph is recorded");
  on_cpu(to).copy_(on_cpu(from));
  return to;
}

// The tensors of one call, on the way to the CPU and back.
class Call {
 public:
  explicit Call(const c10::OperatorHandle& op) : op_(op) {}

  at::Tensor there(const at::Tensor& t) {
    if (!t.defined()) return t;
    if (t.is_cpu()) {
      // A number may come from the host.
      host_ = host_ || t.dim() > 0;
      return t;
    }
    device_ = true;
    // The CPU's operators make room in empty results, which memory of somebody else's does not let
    // them.
    at::Tensor alias =
        t.numel() == 0 ? at::empty(t.sizes(), at::TensorOptions(t.scalar_type())) : on_cpu(t);
    originals_.emplace(alias.unsafeGetTensorImpl(), t);
    aliases_.push_back(alias);
    return alias;
  }
  void check() const {
    TORCH_CHECK(!(host_ && device_), op_.schema().name(), ": tensors of two devices");
  }
  // What was empty and is not any more has the new memory.
  void adopt() {
    for (const at::Tensor& alias : aliases_) {
      const at::Tensor& original = originals_.at(alias.unsafeGetTensorImpl());
      if (original.numel() > 0 || alias.numel() == 0) continue;
      const at::Tensor made = on_device(alias);
      original.unsafeGetTensorImpl()->set_storage_keep_dtype(made.storage());
      original.unsafeGetTensorImpl()->set_sizes_and_strides(made.sizes(), made.strides(),
                                                            made.storage_offset());
    }
  }
  at::Tensor back(const at::Tensor& t) const {
    if (!t.defined()) return t;
    const auto known = originals_.find(t.unsafeGetTensorImpl());
    return known == originals_.end() ? on_device(t) : known->second;
  }

 private:
  const c10::OperatorHandle& op_;
  std::unordered_map<const c10::TensorImpl*, at::Tensor> originals_;
  std::vector<at::Tensor> aliases_;
  bool host_ = false, device_ = false;
};

template <class F>
c10::IValue each_tensor(const c10::IValue& value, const F& f) {
  if (value.isTensor()) return f(value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& t : value.toTensorVector()) list.push_back(f(t));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& t : value.toOptionalTensorVector())
      list.push_back(t ? std::optional(f(*t)) : std::nullopt);
    return list;
  }
  return value;
}

void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  Call call(op);
  const size_t arguments = op.schema().arguments().size();
  for (size_t i = stack->size() - arguments; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    value = value.isDevice() && value.toDevice().type() == kType
                ? c10::IValue(at::Device(at::kCPU))
                : each_tensor(value, [&](const at::Tensor& t) { return call.there(t); });
  }
  call.check();
  op.callBoxed(stack);
  call.adopt();
  for (size_t i = stack->size() - op.schema().returns().size(); i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    value = each_tensor(value, [&](const at::Tensor& t) { return call.back(t); });
  }
}

// Does the work again where a device would launch it. What the work reads must be the device's:
// nothing may go between it and the host.
class Replayed : public DeviceGraph {
 public:
  void record(const std::function<void()>& work) override {
    work();
    work_ = work;
    replay();
  }
  void replay() override {
    g_recording = true;
    try {
      work_();
    } catch (...) {
      g_recording = false;
      throw;
    }
    g_recording = false;
  }

 private:
  std::function<void()> work_;
};

}  // namespace

std::unique_ptr<DeviceGraph> make_replayed_graph(at::Device) {
  return std::make_unique<Replayed>();
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("_copy_from", TORCH_FN(copy_from));
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
}

}  // namespace continuo::test
