#include "app/compute_config.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <thread>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/AllocatorConfig.h>

#include "core/log.h"
#include "nn/cpu/kernels/kernels.h"

namespace continuo {

void threads_field(FieldVisitor& v, int64_t& threads) {
  v.field("threads", threads, "CPU threads, 0 = all cores.", Range::at_least(0));
}

std::span<const EnumName> enum_names(CudaKernels) {
  static constexpr std::array kNames = {EnumName{"proven", static_cast<int>(CudaKernels::kProven)},
                                        EnumName{"all", static_cast<int>(CudaKernels::kAll)}};
  return kNames;
}

void fields(FieldVisitor& v, CudaConfig& c) {
  v.field("kernels", c.kernels,
          "Kernels of our own: those that have passed their tests on a GPU, or all.");
  v.field("deterministic", c.deterministic,
          "The same run gives the same bits; attention's backward pass is slower.");
  v.field("nccl", c.nccl,
          "Ranks send tensors from GPU to GPU by NCCL, which no test has run on GPUs yet; false: "
          "by way of the host.");
}

void fields(FieldVisitor& v, DeviceConfig& c) {
  v.field("device", c.device, "auto, cpu, cuda or cuda:<index>.");
  threads_field(v, c.threads);
  v.section("cuda", c.cuda, "What computes on GPUs.");
}

void fields(FieldVisitor& v, ComputeConfig& c) {
  fields(v, static_cast<DeviceConfig&>(c));
  v.field(
      "dtype", c.dtype,
      "Weights and products in fp32 or bf16; auto: bf16 where the machine multiplies it as fast.");
  v.field(
      "weights", c.weights,
      "Weights as generation reads them: fp32, bf16, q8 or q4; auto: as dtype, and the blocks of "
      "a GGUF file as they are, with activations of 8 bits.");
  v.field(
      "kv_cache", c.kv_cache,
      "Cached keys and values: fp32, bf16, or q8 on the CPU; auto: bf16 unless weights are fp32.");
}

namespace {

c10::Device parse_device(const std::string& name) {
  const bool cuda = at::hasCUDA();
  if (name == "auto") return cuda ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
  if (name == "cpu") return c10::kCPU;
  if (name == "cuda" || name.starts_with("cuda:")) {
    if (!cuda) {
      throw Error("device '" + name + "' is not available: this LibTorch sees no CUDA device",
                  "Use device=cpu, or install the CUDA build of torch.");
    }
    const std::string index = name == "cuda" ? "0" : name.substr(5);
    if (!index.empty() && index.size() < 4 &&
        index.find_first_not_of("0123456789") == std::string::npos) {
      return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(std::stoi(index)));
    }
  }
  throw Error("unknown device '" + name + "'", "Use auto, cpu, cuda or cuda:<index>.");
}

// Before the first tensor on a GPU.
void start_cuda(const CudaConfig& config) {
  install_backend(at::kCUDA, cuda_backend(config.kernels));
  // Blocks that grow in place: without them steps of changing shapes fragment the memory.
  const bool chosen = std::getenv("PYTORCH_ALLOC_CONF") || std::getenv("PYTORCH_CUDA_ALLOC_CONF");
  if (!chosen) c10::CachingAllocator::setAllocatorSettings("expandable_segments:True");
  if (!config.deterministic) return;
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

}  // namespace

std::string device_of_rank(const std::string& device, int64_t local_rank) {
  const auto gpus = static_cast<int64_t>(at::getNumGPUs());
  if (gpus == 0 || (device != "auto" && device != "cuda")) return device;
  return fmt::format("cuda:{}", local_rank % gpus);
}

int64_t set_threads(int64_t threads) {
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  const int64_t wanted = threads > 0 ? threads : cores;
  at::set_num_threads(static_cast<int>(wanted));
  return wanted;
}

at::ScalarType products_dtype(ComputeType wanted, bool frozen, c10::Device device,
                              std::string_view instruction_set) {
  const bool faster = !device.is_cpu() || instruction_set.starts_with("avx512"),
             as_fast = faster || instruction_set == "avx2";
  if (wanted == ComputeType::kAuto)
    return faster || (frozen && as_fast) ? at::kBFloat16 : at::kFloat;
  if (wanted == ComputeType::kBfloat16 && as_fast) return at::kBFloat16;
  if (wanted == ComputeType::kBfloat16)
    log_warning("without AVX2 bf16 products would be slower than fp32, computing in fp32");
  return at::kFloat;
}

Compute start_compute(const DeviceConfig& config, ComputeType dtype, bool frozen) {
  const int64_t threads = set_threads(config.threads);
  const c10::Device device = parse_device(config.device);
  if (device.is_cuda()) start_cuda(config.cuda);
  const Compute compute{.device = device,
                        .dtype = products_dtype(dtype, frozen, device, kernels().instruction_set),
                        .threads = threads};
  log_debug("computing on {} in {} with {} threads; the CPU's kernels are those for {}",
            device.str(), dtype_name(compute.dtype), threads, kernels().instruction_set);
  return compute;
}

Compute start_compute(const ComputeConfig& config) {
  Compute compute = start_compute(config, config.dtype, true);
  compute.executor = executor_options(compute.dtype, config.weights, config.kv_cache);
  return compute;
}

std::string_view dtype_name(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? "bf16" : "fp32";
}

}  // namespace continuo
