#include "nn/kernels/kernels.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

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

const Kernels& kernels() {
  static const Kernels& chosen = []() -> const Kernels& {
    if (const char* wanted = std::getenv("CONTINUO_ISA")) {
      if (const Kernels* table = kernels_for(wanted)) return *table;
    }
    for (const char* name : {"avx512vnni", "avx512", "avx2"}) {
      if (const Kernels* table = kernels_for(name)) return *table;
    }
    return kPortableKernels;
  }();
  return chosen;
}

}  // namespace continuo
