#include "nn/cpu/document_attention.h"

#include <algorithm>
#include <numeric>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/team.h"

namespace continuo {

namespace {

// Documents with the most work first, so that the last units dealt are small ones.
std::vector<int64_t> longest_first(const std::vector<DocumentAttention>& documents) {
  std::vector<int64_t> order(documents.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return documents[a].shape.keys() > documents[b].shape.keys();
  });
  return order;
}

at::Tensor bytes(int64_t n) { return at::empty({n}, at::TensorOptions(at::kByte)); }

template <class T>
AttendValues attention_forward(const at::Tensor& q, const std::vector<DocumentAttention>& documents,
                               int64_t kv_heads) {
  const AttentionKernels<T>& kernel = kernels().attention<T>();
  const int64_t rows = q.size(0), heads = q.size(1), dim = q.size(2), group = heads / kv_heads;
  at::Tensor out = at::empty_like(q), lse = at::empty({heads, rows}, q.options().dtype(at::kFloat));
  struct Unit {
    int64_t document, head, begin;
  };
  std::vector<Unit> units;
  std::vector<int64_t> packed_at(documents.size());  // offset of a document's first packed head
  int64_t packed_size = 0;
  for (const int64_t d : longest_first(documents)) {
    const AttentionShape& s = documents[d].shape;
    packed_at[d] = packed_size;
    packed_size += kv_heads * kernel.packed_values(s.keys(), dim);
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t begin = 0; begin < s.queries; begin += kAttentionTile)
        units.push_back({d, h, begin});
    }
  }
  const at::Tensor packed_memory = bytes(packed_size * static_cast<int64_t>(sizeof(T)));
  T* packed = packed_size > 0 ? data<T>(packed_memory) : nullptr;
  const int64_t scratch_size = kernel.forward_scratch(dim);
  const at::Tensor scratch = bytes(scratch_size * at::get_num_threads());
  Team::run([&](const Team::Member& member) {
    if (packed) {
      member.deal(std::ssize(documents) * kv_heads, [&](int64_t first, int64_t last) {
        for (int64_t u = first; u < last; ++u) {
          const int64_t d = u / kv_heads, h = u % kv_heads;
          const AttentionShape& s = documents[d].shape;
          kernel.pack_values(
              s.keys(), dim, s.key_stride,
              static_cast<const T*>(documents[d].values) + h * documents[d].head_step,
              packed + packed_at[d] + h * kernel.packed_values(s.keys(), dim));
        }
      });
      member.wait();
    }
    std::byte* own = data<std::byte>(scratch) + member.rank * scratch_size;
    member.deal(std::ssize(units), [&](int64_t first, int64_t last) {
      for (int64_t u = first; u < last; ++u) {
        const auto [d, h, begin] = units[u];
        const DocumentAttention& document = documents[d];
        const AttentionShape& s = document.shape;
        const int64_t at = document.query * heads * dim + h * dim, kv = h / group;
        kernel.forward(
            s,
            {.q = data<T>(q) + at,
             .k = static_cast<const T*>(document.keys) + kv * document.head_step,
             .v = static_cast<const T*>(document.values) + kv * document.head_step,
             .packed = packed ? packed + packed_at[d] + kv * kernel.packed_values(s.keys(), dim)
                              : nullptr,
             .out = data<T>(out) + at,
             .lse = data<float>(lse) + h * rows + document.query},
            begin, std::min(s.queries, begin + kAttentionTile), own);
      }
    });
  });
  return {out, lse};
}

std::vector<DocumentAttention> whole_documents(const AttendInput& in) {
  const auto& [q, k, v, boundaries, options, offsets] = in;
  const int64_t key_stride = k.size(1) * k.size(2),
                bytes_per_row = key_stride * static_cast<int64_t>(k.element_size());
  std::vector<DocumentAttention> documents;
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    documents.push_back(
        {.query = boundaries[d],
         .keys = static_cast<const std::byte*>(k.const_data_ptr()) + boundaries[d] * bytes_per_row,
         .values =
             static_cast<const std::byte*>(v.const_data_ptr()) + boundaries[d] * bytes_per_row,
         .head_step = k.size(2),
         .shape = {.queries = boundaries[d + 1] - boundaries[d],
                   .past = 0,
                   .dim = q.size(2),
                   .query_stride = q.size(1) * q.size(2),
                   .key_stride = key_stride,
                   .window = options.window,
                   .scale = static_cast<float>(options.scale)}});
  }
  return documents;
}

// Long documents are cut in parts for the sake of few heads on many threads. By length alone: sums
// must not depend on more.
constexpr int64_t kParts = 4;
int64_t parts_of(const DocumentAttention& d) {
  return std::clamp<int64_t>(d.shape.queries / 512, 1, kParts);
}

// to [rows, heads, dim] = Σ_i shares[i, heads, rows, dim], float32: a member's rows of it.
template <class T>
void sum_shares(const at::Tensor& shares, const at::Tensor& to, const Team::Member& member) {
  const int64_t rows = to.size(0), heads = to.size(1), dim = to.size(2), begin = member.begin(rows);
  for (int64_t h = 0; h < heads; ++h) {
    kernels().attention<T>().sum_heads(
        {.n = member.end(rows) - begin,
         .dim = dim,
         .group = shares.size(0),
         .parts = data<float>(shares) + h * shares.stride(1) + begin * dim,
         .part_stride = shares.stride(0),
         .to = data<T>(to) + (begin * heads + h) * dim,
         .stride = heads * dim});
  }
}

// A part of a head of a document.
struct BackwardUnit {
  int64_t document, head, part;
};

std::vector<BackwardUnit> backward_units(const std::vector<DocumentAttention>& documents,
                                         int64_t heads, int64_t parts) {
  std::vector<BackwardUnit> units;
  for (const int64_t d : longest_first(documents)) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t part = 0; part < parts; ++part) units.push_back({d, h, part});
    }
  }
  return units;
}

// The shares of parts, and of the heads that have keys in common, are summed after all units.
template <class T>
AttendGradients attention_backward(const AttendInput& in, const AttendValues& values,
                                   const at::Tensor& dout) {
  const at::Tensor &q = in.q, &k = in.k, &v = in.v, &out = values.out, &lse = values.lse;
  const std::vector<DocumentAttention> documents = whole_documents(in);
  const AttentionKernels<T>& kernel = kernels().attention<T>();
  const int64_t rows = q.size(0), heads = q.size(1), dim = q.size(2), kv_heads = k.size(1),
                group = heads / kv_heads;
  AttendGradients g{at::empty_like(q), at::empty_like(k), at::empty_like(v)};
  int64_t parts = 1;  // the most that a document has
  for (const DocumentAttention& d : documents) parts = std::max(parts, parts_of(d));
  const at::Tensor dq = at::empty({parts, heads, rows, dim}, lse.options());
  // In memory [heads, rows, dim], the heads that have keys in common one after the other.
  const auto of_heads = [&] {
    return at::empty({kv_heads, group, rows, dim}, lse.options()).transpose(0, 1);
  };
  const at::Tensor dk = of_heads(), dv = of_heads();
  const std::vector<BackwardUnit> units = backward_units(documents, heads, parts);
  int64_t scratch_size = 0;
  for (const DocumentAttention& d : documents)
    scratch_size = std::max(scratch_size, kernel.backward_scratch(d.shape.queries, dim));
  const at::Tensor scratch = bytes(scratch_size * at::get_num_threads());
  Team::run([&](const Team::Member& member) {
    std::byte* own = data<std::byte>(scratch) + member.rank * scratch_size;
    member.deal(std::ssize(units), [&](int64_t first, int64_t last) {
      for (int64_t u = first; u < last; ++u) {
        const auto [number, h, part] = units[u];
        const DocumentAttention& d = documents[number];
        const int64_t at = d.query * heads * dim + h * dim, head = h * rows + d.query;
        float* share = data<float>(dq) + (part * heads * rows + head) * dim;
        if (part >= parts_of(d)) {
          std::fill_n(share, d.shape.queries * dim, 0.0f);
          continue;
        }
        kernel.backward(d.shape,
                        {.q = data<T>(q) + at,
                         .k = static_cast<const T*>(d.keys) + h / group * d.head_step,
                         .v = static_cast<const T*>(d.values) + h / group * d.head_step,
                         .out = data<T>(out) + at,
                         .dout = data<T>(dout) + at,
                         .lse = data<float>(lse) + head,
                         .dq = share,
                         .dk = data<float>(dk) + head * dim,
                         .dv = data<float>(dv) + head * dim},
                        part, parts_of(d), own);
      }
    });
    member.wait();
    sum_shares<T>(dq, g.q, member);
    sum_shares<T>(dk, g.k, member);
    sum_shares<T>(dv, g.v, member);
  });
  return g;
}

}  // namespace

bool kernels_attend(at::ScalarType dtype, int64_t head_dim) {
  constexpr int64_t kMultiple = 16;
  return head_dim % kMultiple == 0 && (dtype == at::kFloat || dtype == at::kBFloat16);
}

AttendValues attend_documents(const at::Tensor& q, const std::vector<DocumentAttention>& documents,
                              int64_t kv_heads) {
  return with_storage_type(q.scalar_type(), [&](auto type) {
    return attention_forward<decltype(type)>(q, documents, kv_heads);
  });
}

AttendValues attend_whole_documents(const AttendInput& input) {
  return attend_documents(input.q, whole_documents(input), input.k.size(1));
}

AttendGradients attend_whole_documents_backward(const AttendInput& input,
                                                const AttendValues& values,
                                                const at::Tensor& dout) {
  return with_storage_type(input.q.scalar_type(), [&](auto type) {
    return attention_backward<decltype(type)>(input, values, dout);
  });
}

}  // namespace continuo
