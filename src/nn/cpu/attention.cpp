// Which of the CPU's kernels attends: tiles of queries; ATen's fused operator where a head's size
// is no multiple of the tiles', the reference where scores are capped.
#include "nn/aten/ops.h"
#include "nn/cpu/document_attention.h"
#include "nn/cpu/ops.h"

namespace continuo::cpu {

namespace {

bool by_tiles(const AttendInput& in) {
  return in.options.softcap == 0 && kernels_attend(in.q.scalar_type(), in.q.size(2));
}

}  // namespace

AttendValues attend(const AttendInput& in) {
  if (by_tiles(in)) return attend_whole_documents(in);
  return in.options.softcap == 0 ? aten::attend_fused(in) : aten::attend(in);
}

AttendGradients attend_backward(const AttendInput& in, const AttendValues& values,
                                const at::Tensor& dout) {
  if (by_tiles(in)) return attend_whole_documents_backward(in, values, dout);
  return in.options.softcap == 0 ? aten::attend_fused_backward(in, dout)
                                 : aten::attend_backward(in, values, dout);
}

}  // namespace continuo::cpu
