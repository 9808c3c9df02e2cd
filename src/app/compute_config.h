// Where and in which numbers a command computes: the keys that commands have in common, and what
// they come to on this machine.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "core/config/config.h"
#include "generate/weight_choice.h"
#include "nn/cuda/backend.h"
#include "nn/decoder.h"
#include "train/train_config.h"

namespace continuo {

std::span<const EnumName> enum_names(CudaKernels);

// What concerns GPUs alone.
struct CudaConfig {
  CudaKernels kernels = CudaKernels::kProven;
  bool deterministic = false;
  bool nccl = false;
};
void fields(FieldVisitor& v, CudaConfig& c);

struct DeviceConfig {
  std::string device = "auto";
  int64_t threads = 0;
  CudaConfig cuda;
};
void fields(FieldVisitor& v, DeviceConfig& c);

// Of commands that run a finished model.
struct ComputeConfig : DeviceConfig {
  ComputeType dtype = ComputeType::kFloat32;
  WeightChoice weights = WeightChoice::kAuto;
  CacheChoice kv_cache = CacheChoice::kAuto;
};
void fields(FieldVisitor& v, ComputeConfig& c);

// The key `threads` alone, for commands that know no device.
void threads_field(FieldVisitor& v, int64_t& threads);

struct Compute {
  c10::Device device;
  at::ScalarType dtype;
  int64_t threads;
  ExecutorOptions executor = {};  // of commands that run a finished model
};

// The type of the products. auto: bfloat16 where the machine multiplies it faster than float32;
// over frozen weights, whose memory it halves, also where it is as fast. float32, with a warning,
// instead of a bfloat16 that would be slower. `instruction_set`: of the CPU's kernels.
at::ScalarType products_dtype(ComputeType wanted, bool frozen, c10::Device device,
                              std::string_view instruction_set);

// Sets the threads of the process. `frozen`: no gradient changes the model's own weights. Error: a
// device that is unknown or not there.
Compute start_compute(const DeviceConfig& config, ComputeType dtype, bool frozen);
Compute start_compute(const ComputeConfig& config);

// Threads of the tensor library; 0 = all cores. Returns the number in use.
int64_t set_threads(int64_t threads);

// What `device` says for a process that is number `local_rank` of those on its machine: auto and
// cuda are the GPU of its number, and begin anew behind the last.
std::string device_of_rank(const std::string& device, int64_t local_rank);

// "fp32" or "bf16".
std::string_view dtype_name(at::ScalarType dtype);

}  // namespace continuo
