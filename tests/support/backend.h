// Which backend the tests run on (CONTINUO_BACKEND).
#pragma once

#include <string_view>

#include "nn/backend.h"

namespace continuo::test {

// The reference has no engine, and promises no row's bits: only the CPU's own backend does.
inline bool on_reference() {
  return backend_of(at::Device(at::kCPU)).name == std::string_view("aten");
}

}  // namespace continuo::test
