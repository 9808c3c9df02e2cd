// What <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp> names of Gloo. LibTorch carries Gloo's
// code but not its headers; only pointers to its types cross the border, so that declarations are
// enough.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
