#include "bench/kernel_bench.h"

namespace continuo::bench {
namespace {

// One head of a document.
template <class T>
struct AttentionHead {
  explicit AttentionHead(const AttentionKernels<T>& kernel, int64_t n)
      : shape{.queries = n,
              .past = 0,
              .dim = kDim,
              .query_stride = kDim,
              .key_stride = kDim,
              .window = 0,
              .scale = 0.125f},
        q(values<T>(n * kDim)),
        k(q),
        v(q),
        dout(q),
        out(q.size()),
        packed(kernel.packed_values(n, kDim)),
        lse(n),
        dq(n * kDim),
        dk(n * kDim),
        dv(n * kDim),
        scratch(std::max(kernel.forward_scratch(kDim), kernel.backward_scratch(n, kDim))) {
    kernel.pack_values(n, kDim, kDim, v.data(), packed.data());
  }
  void forward(const AttentionKernels<T>& kernel) {
    for (int64_t i = 0; i < shape.queries; i += kAttentionTile) {
      kernel.forward(shape,
                     {.q = q.data(),
                      .k = k.data(),
                      .v = v.data(),
                      .packed = packed.data(),
                      .out = out.data(),
                      .lse = lse.data()},
                     i, std::min(shape.queries, i + kAttentionTile), scratch.data());
    }
  }

  AttentionShape shape;
  std::vector<T> q, k, v, dout, out, packed;
  std::vector<float> lse, dq, dk, dv;
  std::vector<std::byte> scratch;
};

template <class T, int64_t n>
void forward(benchmark::State& state, const Kernels& kernels) {
  const AttentionKernels<T>& kernel = kernels.attention<T>();
  AttentionHead<T> head(kernel, n);
  measure(state, {.flop = 2 * n * n * kDim}, [&] { head.forward(kernel); });
}

template <class T, int64_t n>
void backward(benchmark::State& state, const Kernels& kernels) {
  const AttentionKernels<T>& kernel = kernels.attention<T>();
  AttentionHead<T> head(kernel, n);
  head.forward(kernel);
  const AttentionBackward<T> tensors = {.q = head.q.data(),
                                        .k = head.k.data(),
                                        .v = head.v.data(),
                                        .out = head.out.data(),
                                        .dout = head.dout.data(),
                                        .lse = head.lse.data(),
                                        .dq = head.dq.data(),
                                        .dk = head.dk.data(),
                                        .dv = head.dv.data()};
  measure(state, {.flop = 5 * n * n * kDim},
          [&] { kernel.backward(head.shape, tensors, 0, 1, head.scratch.data()); });
}

}  // namespace

std::vector<KernelBench> attention_benches() {
  return {{"attention_forward/200/f32", forward<float, 200>},
          {"attention_forward/200/bf16", forward<uint16_t, 200>},
          {"attention_forward/2048/f32", forward<float, 2048>},
          {"attention_forward/2048/bf16", forward<uint16_t, 2048>},
          {"attention_backward/200/f32", backward<float, 200>},
          {"attention_backward/200/bf16", backward<uint16_t, 200>},
          {"attention_backward/2048/f32", backward<float, 2048>},
          {"attention_backward/2048/bf16", backward<uint16_t, 2048>}};
}

}  // namespace continuo::bench
