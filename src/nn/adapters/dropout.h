// Dropout whose mask is a pure function of (seed, layer, step, token's name, column): the same in a
// recomputed forward pass, after a resume, and for every split of a step into micro-batches.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/random.h"

namespace continuo {

// The training pass under way: its step and the names of its tokens. Without one nothing is
// dropped.
class DropoutPass {
 public:
  // tokens: a name for each row of the hidden states, unique within the step. Rows after the last
  // named one are padding.
  void start(int64_t step, std::vector<uint64_t> tokens);
  void stop() { active_ = false; }
  bool active() const { return active_; }
  int64_t step() const { return step_; }
  int64_t tokens() const { return static_cast<int64_t>(tokens_.size()); }
  // The bits of their names: [tokens] int64, put there once for all layers of a pass.
  const at::Tensor& tokens_on(at::Device device) const;

 private:
  bool active_ = false;
  int64_t step_ = 0;
  std::vector<uint64_t> tokens_;
  mutable at::Tensor on_device_;
};

// Holds a pass open; `pass` may be null, then nothing happens.
class DropoutScope {
 public:
  DropoutScope(DropoutPass* pass, int64_t step, std::vector<uint64_t> tokens) : pass_(pass) {
    if (pass_) pass_->start(step, std::move(tokens));
  }
  ~DropoutScope() {
    if (pass_) pass_->stop();
  }
  DropoutScope(const DropoutScope&) = delete;
  DropoutScope& operator=(const DropoutScope&) = delete;

 private:
  DropoutPass* pass_;
};

// The dropout of one layer. The rate is rounded to a multiple of 2^-16.
class Dropout {
 public:
  Dropout(double rate, uint64_t seed, std::string_view layer);

  // 0 or 1/(1 − rate) for each element, 0 in rows of padding: [rows, columns] in `options`. Error:
  // fewer rows than the pass names.
  at::Tensor mask(const DropoutPass& pass, int64_t rows, int64_t columns,
                  const at::TensorOptions& options) const;
  bool drops() const { return threshold_ > 0; }

 private:
  uint32_t threshold_;  // of 2^16
  PhiloxKey key_;
};

}  // namespace continuo
