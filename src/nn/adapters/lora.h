// Low-rank adapters of frozen linear layers: y = x·Wᵀ + b + s·dropout(x)·Aᵀ·Bᵀ (LoRA, arXiv
// 2106.09685), with s = alpha/rank, or alpha/√rank (rsLoRA, arXiv 2312.03732), and DoRA's
// magnitudes (arXiv 2402.09353) as PEFT computes them. Gradients reach x, A, B and the magnitudes;
// the base gets none. Knows nothing about files or module names.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/adapters/dropout.h"
#include "nn/linear.h"

namespace continuo {

struct LoraOptions {
  int64_t rank = 0;
  double alpha = 0;
  double dropout = 0;   // of the adapter's input while training
  bool rslora = false;  // scaling alpha/√rank
  bool dora = false;    // a trained magnitude per output row

  double scaling() const;
};

class LoraAdapter : public LinearAdapter {
 public:
  // A and B are zero, the magnitudes those of the base. `layer` names the noise of dropout; `pass`
  // says when it acts. The base's parameters must not change from here on.
  LoraAdapter(LinearImpl& base, const LoraOptions& options, uint64_t seed, const std::string& layer,
              std::shared_ptr<const DropoutPass> pass);

  // PEFT's start: A uniform in ±1/√in (Kaiming with a = √5), B zero. A function of seed and layer.
  void initialise();

  at::Tensor forward(LinearImpl& base, const at::Tensor& x) override;
  at::Tensor forward(LinearImpl& base, const at::Tensor& first, const at::Tensor& second,
                     const RemadeInput& input) override;
  LowRank low_rank(const LinearImpl& base) override;
  // By PEFT's names: "lora_A.weight" [rank, in], "lora_B.weight" [out, rank] and with DoRA
  // "lora_magnitude_vector" [out].
  std::vector<std::pair<std::string, at::Tensor>> parameters() const override;

 private:
  at::Tensor run(LinearImpl& base, const at::Tensor& first, const at::Tensor& second,
                 const RemadeInput* input);
  // ‖W + s·B·A‖ by rows, [out] float32.
  const at::Tensor& row_norms(const LinearImpl& base);

  LoraOptions options_;
  uint64_t seed_;
  std::string layer_;
  std::shared_ptr<const DropoutPass> pass_;
  Dropout dropout_;
  at::Tensor a_, b_, magnitude_;
  CastCache cast_a_, cast_b_;
  at::Tensor base_squares_;  // ‖W‖² by rows
  at::Tensor norms_;         // of the versions of A and B below
  std::pair<uint32_t, uint32_t> norms_of_;
};

}  // namespace continuo
