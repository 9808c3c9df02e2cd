#include "nn/cpu/kernels/kernels.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "core/error.h"

namespace continuo {

extern const Kernels kPortableKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;

namespace {

// The table of an instruction set, if CONTINUO_KERNELS (CMakeLists.txt) left it in the build.
const Kernels* built_kernels(std::string_view instruction_set) {
#ifdef CONTINUO_KERNELS_AVX512VNNI
  if (instruction_set == "avx512vnni") return &kAvx512VnniKernels;
#endif
#ifdef CONTINUO_KERNELS_AVX512
  if (instruction_set == "avx512") return &kAvx512Kernels;
#endif
#ifdef CONTINUO_KERNELS_AVX2
  if (instruction_set == "avx2") return &kAvx2Kernels;
#endif
  return instruction_set == "portable" ? &kPortableKernels : nullptr;
}

bool cpu_has(std::string_view instruction_set) {
#if defined(__x86_64__)
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  if (instruction_set == "avx512vnni") {
    return avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
           __builtin_cpu_supports("avx512vbmi");
  }
  if (instruction_set == "avx512") return avx512;
  if (instruction_set == "avx2") {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
  }
#endif
  return instruction_set == "portable";
}

}  // namespace

const Kernels* kernels_for(const char* instruction_set) {
  return cpu_has(instruction_set) ? built_kernels(instruction_set) : nullptr;
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
  const std::string hint = fmt::format("It has {}; leave it unset for the first of them.", here);
  if (known && cpu_has(wanted)) {
    throw Error(fmt::format("CONTINUO_ISA={}: this build has no {}", wanted, wanted),
                hint + " Configure with -DCONTINUO_KERNELS=all for all of them.");
  }
  if (known) {
    throw Error(fmt::format("CONTINUO_ISA={}: this CPU has no {}", wanted, wanted), hint);
  }
  throw Error(fmt::format("CONTINUO_ISA={} is no instruction set of the kernels", wanted),
              fmt::format("Use one of {}, or leave it unset for the first that the CPU has.", all));
}

const Kernels& kernels() {
  static const Kernels& chosen = choose_kernels(std::getenv("CONTINUO_ISA"));
  return chosen;
}

}  // namespace continuo
