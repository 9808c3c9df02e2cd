// From the gradients that backward passes leave in parameters to those that an optimizer updates
// by: of the process alone, or summed over the ranks of a run and parted among them. Knows no
// objective, and of the optimizer no more than what it updates as one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comm/communicator.h"
#include "nn/named_parameters.h"

namespace continuo {

// A run of a parameter's elements inside of a share.
struct Stretch {
  std::string parameter;
  std::vector<int64_t> shape;  // of the whole parameter
  int64_t first = 0;           // element of the parameter, flattened
  int64_t at = 0;              // element of the share, flattened
  int64_t count = 0;
};

// What is updated as one: float32, a parameter itself or a run of several that lie side by side.
struct Share {
  at::Tensor weight;    // shares its memory with the parameters
  at::Tensor gradient;  // shaped as it; there from sum() to updated()
  bool decays = false;  // matrices do (dim ≥ 2), norms and biases do not
  std::vector<Stretch> stretches;
};

// Adds to the share, whose elements are those from `begin` on of a flat run, what lies in it of a
// parameter that begins at element `at` of that run.
void add_stretch(Share& share, int64_t begin, const std::pair<std::string, at::Tensor>& parameter,
                 int64_t at);

class Gradients {
 public:
  virtual ~Gradients() = default;

  virtual Communicator& ranks() = 0;
  virtual std::vector<Share>& shares() = 0;
  // All that are trained, on every rank the same, in the order of their names in the model.
  virtual const NamedParameters& parameters() const = 0;
  // Whether this rank's copy of a stretch is the one that is saved.
  virtual bool saves() const = 0;

  // The next backward pass of this rank is its last of the step: what it completes may be on its
  // way while it goes on.
  virtual void last_pass() {}
  // Every rank makes as many passes, of an evaluation too, as the one that makes most: one without
  // rows where it has no more of its own (train/supervised.h).
  virtual bool passes_together() const { return false; }
  // A backward pass has ended.
  virtual void pass_over() {}
  // After the last pass, on every rank, also on one that had none: fills the shares' gradients. →
  // [] float64 on their device: the sum of squares of what this rank answers for, whose sum over
  // ranks is the square of the global norm.
  virtual at::Tensor sum() = 0;
  // The shares have new weights: brings them to where the model reads them, and lets gradients go.
  // They may be on their way still when it returns: a decoder's passes wait for them as they need
  // them (nn/weight_gate.h).
  virtual void updated() = 0;
  // Until nothing is on its way.
  virtual void wait() {}
  // Every rank calls it before anything but passes reads weights. The first rank has all trained
  // ones in memory then, until the next pass or update.
  virtual void settle() {}
  // Every rank calls it; `take` is called on the first alone, until it has been given all trained
  // parameters: those of a decoder's part together, which may be in memory no longer than the call.
  using Take = std::function<void(const NamedParameters&)>;
  virtual void hand_over(const Take& take);
  // Lets the gradients go without an update.
  virtual void discard() = 0;
};

// Of a process alone: every parameter is a share, its gradient is autograd's.
class LocalGradients : public Gradients {
 public:
  // Takes those of `parameters` that require a gradient.
  explicit LocalGradients(const NamedParameters& parameters);

  Communicator& ranks() override { return *solo_; }
  std::vector<Share>& shares() override { return shares_; }
  const NamedParameters& parameters() const override { return parameters_; }
  bool saves() const override { return true; }
  at::Tensor sum() override;
  void updated() override;
  void discard() override;

 private:
  std::unique_ptr<Communicator> solo_ = solo_communicator();
  NamedParameters parameters_;
  std::vector<Share> shares_;
};

// [] float64: of all elements of float32 tensors.
at::Tensor sum_of_squares(const std::vector<at::Tensor>& tensors);

// The fused optimizer leaves version counters alone; copies in other dtypes (nn/linear.h) go by
// them.
void bump_versions(const NamedParameters& parameters);

}  // namespace continuo
