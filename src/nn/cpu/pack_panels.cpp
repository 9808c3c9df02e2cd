#include <ATen/ops/from_blob.h>

#include "nn/cpu/ops.h"
#include "nn/cpu/packed_matrix.h"

namespace continuo::cpu {

at::Tensor pack_panels(const WeightMatrix& matrix, WeightFormat format) {
  const PanelRows rows({matrix});
  PanelArena arena(packed_bytes(format, rows));
  const PackedMatrix packed = pack(arena, format, rows);
  // LibTorch reads through a pointer that it may not write through.
  return at::from_blob(const_cast<std::byte*>(packed.panel(0)),
                       {packed.panels, panel_bytes(packed.format(), packed.in)},
                       at::TensorOptions(at::kByte))
      .clone();
}

}  // namespace continuo::cpu
