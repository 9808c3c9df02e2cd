#include "nn/kernels/kernels.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"

namespace continuo {

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;
#endif

const Kernels* kernels_for(const char* instruction_set) {
#if defined(__x86_64__)
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  if (std::strcmp(instruction_set, "avx512vnni") == 0) {
    const bool supported = avx512 && __builtin_cpu_supports("avx512vnni") &&
                           __builtin_cpu_supports("avx512bf16") &&
                           __builtin_cpu_supports("avx512vbmi");
    return supported ? &kAvx512VnniKernels : nullptr;
  }
  if (std::strcmp(instruction_set, "avx512") == 0) return avx512 ? &kAvx512Kernels : nullptr;
  if (std::strcmp(instruction_set, "avx2") == 0) {
    const bool supported = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                           __builtin_cpu_supports("bmi2");
    return supported ? &kAvx2Kernels : nullptr;
  }
#endif
  return std::strcmp(instruction_set, "portable") == 0 ? &kPortableKernels : nullptr;
}

const Kernels& choose_kernels(const char* wanted) {
  const bool asked = wanted && *wanted != '\0';
  std::string all, here;
  for (const char* name : kInstructionSets) {
    const Kernels* table = kernels_for(name);
    if (table && (!asked || std::strcmp(name, wanted) == 0)) return *table;
    all += (all.empty() ? "" : ", ") + std::string(name);
    if (table) here += (here.empty() ? "" : ", ") + std::string(name);
  }
  const bool known = std::ranges::any_of(
      kInstructionSets, [&](const char* name) { return std::strcmp(name, wanted) == 0; });
  if (known) {
    throw Error(fmt::format("CONTINUO_ISA={}: this CPU has no {}", wanted, wanted),
                fmt::format("It has {}; leave it unset for the first of them.", here));
  }
  throw Error(fmt::format("CONTINUO_ISA={} is no instruction set of the kernels", wanted),
              fmt::format("Use one of {}, or leave it unset for the first that the CPU has.", all));
}

const Kernels& kernels() {
  static const Kernels& chosen = choose_kernels(std::getenv("CONTINUO_ISA"));
  return chosen;
}

}  // namespace continuo
