// So many of LibTorch's threads for as long as this lives: tests share a process.
#pragma once

#include <ATen/Parallel.h>

namespace continuo::test {

class Threads {
 public:
  explicit Threads(int count) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_ = at::get_num_threads();
};

}  // namespace continuo::test
