// What the products of linear layers read where ranks part the layers' weights: memory that comes
// and goes, or what is left of weights when they are rounded to the products' dtype.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "nn/decoder.h"
#include "nn/linear.h"

namespace continuo {

class PassingWeights {
 public:
  // Of the decoder's layers, which outlive it.
  explicit PassingWeights(Decoder& decoder);
  ~PassingWeights();
  PassingWeights(const PassingWeights&) = delete;
  PassingWeights& operator=(const PassingWeights&) = delete;

  // Whether a layer multiplies with the parameter.
  bool multiplies(const at::Tensor& parameter) const;
  // The layer's products read `passing`; nothing where no layer multiplies with the parameter.
  void add(const at::Tensor& parameter, const at::Tensor& passing);
  // Products read the weights themselves, or again what was added.
  void read_weights(bool themselves);

 private:
  std::map<const c10::TensorImpl*, LinearImpl*> layers_;
  std::vector<std::pair<LinearImpl*, at::Tensor>> passing_;
};

}  // namespace continuo
