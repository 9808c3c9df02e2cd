#include "nn/cuda/kernels/entries.h"

namespace continuo::cuda {

const Kernels& compiled_kernels() {
  static const Kernels kKernels = {.add_rms_norm = start_add_rms_norm,
                                   .add_rms_norm_backward = start_add_rms_norm_backward,
                                   .rotate = start_rotate,
                                   .gate = start_gate,
                                   .gate_backward = start_gate_backward,
                                   .cross_entropy = start_cross_entropy,
                                   .dropout_mask = start_dropout_mask,
                                   .quantised_product = start_quantised_product,
                                   .quantised_values = start_quantised_values};
  return kKernels;
}

}  // namespace continuo::cuda
