#include "nn/ragged_attention.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/kernels/kernels.h"
#include "nn/kernels/span.h"
#include "nn/linear.h"
#include "nn/team.h"

namespace continuo {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// Document d of [N, heads, dim] as [1, heads, n, dim], without a copy.
at::Tensor document(const at::Tensor& x, const std::vector<int64_t>& boundaries, size_t d) {
  return x.narrow(0, boundaries[d], boundaries[d + 1] - boundaries[d]).transpose(0, 1).unsqueeze(0);
}

// A run of a document's queries and the keys that they see between them; offsets from the document's first key.
struct Piece {
  int64_t query_begin, query_end;  // less the cached tokens before the first query
  int64_t key_begin, key_end;
  bool causal;   // a square whose query i sees keys 0 … i
  bool masked;   // some queries do not see some of these keys
};

// Queries past … past + n of a document. With a window, blocks of queries, so that the cost is n · window.
std::vector<Piece> pieces_of(int64_t past, int64_t n, int64_t window) {
  if (window == 0 || past + n <= window) return {{0, n, 0, past + n, past == 0 && n > 1, past > 0 && n > 1}};
  constexpr int64_t kSmallest = 64, kLargest = 1024;
  const int64_t block = std::clamp(window, kSmallest, kLargest);
  std::vector<Piece> pieces;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(n, begin + block);
    const int64_t first = std::max<int64_t>(0, past + begin - window + 1);
    const bool square = past == 0 && begin == 0 && end <= window;
    pieces.push_back({begin, end, first, past + end, square && end > 1, !square && end - begin > 1});
  }
  return pieces;
}

// 0 where query l may see key s, −inf elsewhere: [queries, keys] of the piece.
at::Tensor mask_of(const Piece& p, int64_t past, int64_t window, const at::TensorOptions& like) {
  const at::TensorOptions options = at::TensorOptions(at::kLong).device(like.device());
  const at::Tensor keys = at::arange(p.key_begin, p.key_end, options).unsqueeze(0);
  const at::Tensor queries = at::arange(past + p.query_begin, past + p.query_end, options).unsqueeze(1);
  at::Tensor hidden = keys > queries;
  if (window > 0) hidden = hidden.logical_or(keys <= queries - window);
  return at::zeros(hidden.sizes(), like).masked_fill_(hidden, -std::numeric_limits<double>::infinity());
}

std::optional<at::Tensor> optional_mask(const Piece& p, int64_t past, int64_t window, const at::TensorOptions& like) {
  if (!p.masked) return std::nullopt;
  return mask_of(p, past, window, like);
}

at::Tensor queries_of(const at::Tensor& x, const Piece& p) {
  return x.narrow(2, p.query_begin, p.query_end - p.query_begin);
}
at::Tensor keys_of(const at::Tensor& x, const Piece& p) { return x.narrow(2, p.key_begin, p.key_end - p.key_begin); }

// One document's share of a pass of the attention kernels: queries at rows `query` … of q, keys and values where they lie.
struct Document {
  int64_t query;              // its first row
  const void *keys, *values;  // of KV head 0 at key 0
  int64_t head_step;          // elements between KV heads
  AttentionShape shape;
};

// Documents with the most work first, so that the last units dealt are small ones.
std::vector<int64_t> longest_first(const std::vector<Document>& documents) {
  std::vector<int64_t> order(documents.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return documents[a].shape.keys() > documents[b].shape.keys();
  });
  return order;
}

at::Tensor bytes(int64_t n) { return at::empty({n}, at::TensorOptions(at::kByte)); }

// Causal attention of all documents. → out as q; lse [heads, N].
template <class T>
std::pair<at::Tensor, at::Tensor> attention_forward(const at::Tensor& q, const std::vector<Document>& documents,
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
      for (int64_t begin = 0; begin < s.queries; begin += kAttentionTile) units.push_back({d, h, begin});
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
          kernel.pack_values(s.keys(), dim, s.key_stride, static_cast<const T*>(documents[d].values) + h * documents[d].head_step,
                             packed + packed_at[d] + h * kernel.packed_values(s.keys(), dim));
        }
      });
      member.wait();
    }
    std::byte* own = data<std::byte>(scratch) + member.rank * scratch_size;
    member.deal(std::ssize(units), [&](int64_t first, int64_t last) {
      for (int64_t u = first; u < last; ++u) {
        const auto [d, h, begin] = units[u];
        const Document& document = documents[d];
        const AttentionShape& s = document.shape;
        const int64_t at = document.query * heads * dim + h * dim, kv = h / group;
        kernel.forward(s, begin, std::min(s.queries, begin + kAttentionTile), data<T>(q) + at,
                       static_cast<const T*>(document.keys) + kv * document.head_step,
                       static_cast<const T*>(document.values) + kv * document.head_step,
                       packed ? packed + packed_at[d] + kv * kernel.packed_values(s.keys(), dim) : nullptr,
                       data<T>(out) + at, data<float>(lse) + h * rows + document.query, own);
      }
    });
  });
  return {out, lse};
}

std::vector<Document> whole_documents(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const std::vector<int64_t>& boundaries, double scale, int64_t window) {
  const int64_t key_stride = k.size(1) * k.size(2), bytes_per_row = key_stride * static_cast<int64_t>(k.element_size());
  std::vector<Document> documents;
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    documents.push_back({.query = boundaries[d],
                         .keys = static_cast<const std::byte*>(k.const_data_ptr()) + boundaries[d] * bytes_per_row,
                         .values = static_cast<const std::byte*>(v.const_data_ptr()) + boundaries[d] * bytes_per_row,
                         .head_step = k.size(2),
                         .shape = {.queries = boundaries[d + 1] - boundaries[d],
                                   .past = 0,
                                   .dim = q.size(2),
                                   .query_stride = q.size(1) * q.size(2),
                                   .key_stride = key_stride,
                                   .window = window,
                                   .scale = static_cast<float>(scale)}});
  }
  return documents;
}

struct Gradients {
  at::Tensor q, k, v;
};

// Long documents are cut in parts for the sake of few heads on many threads. By length alone: sums must not depend on more.
constexpr int64_t kParts = 4;
int64_t parts_of(const Document& d) { return std::clamp<int64_t>(d.shape.queries / 512, 1, kParts); }

// A unit is a part of a head of a document; the shares of parts, and of the heads that have keys in common, are summed
// afterwards.
template <class T>
Gradients attention_backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
                             const at::Tensor& dout, const at::Tensor& lse, const std::vector<Document>& documents) {
  const AttentionKernels<T>& kernel = kernels().attention<T>();
  const int64_t rows = q.size(0), heads = q.size(1), dim = q.size(2), kv_heads = k.size(1), group = heads / kv_heads;
  Gradients g{at::empty_like(q), at::empty_like(k), at::empty_like(v)};
  struct Unit {
    int64_t document, head, part;
  };
  std::vector<Unit> units;
  int64_t parts = 1;  // the most that a document has
  for (const Document& d : documents) parts = std::max(parts, parts_of(d));
  const at::Tensor dk = at::empty({heads, rows, dim}, lse.options()), dv = at::empty_like(dk);
  const at::Tensor dq = at::empty({parts, heads, rows, dim}, lse.options());
  for (const int64_t d : longest_first(documents)) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t part = 0; part < parts; ++part) units.push_back({d, h, part});
    }
  }
  int64_t scratch_size = 0;
  for (const Document& d : documents) scratch_size = std::max(scratch_size, kernel.backward_scratch(d.shape.queries, dim));
  const at::Tensor scratch = bytes(scratch_size * at::get_num_threads());
  Team::run([&](const Team::Member& member) {
    std::byte* own = data<std::byte>(scratch) + member.rank * scratch_size;
    member.deal(std::ssize(units), [&](int64_t first, int64_t last) {
      for (int64_t u = first; u < last; ++u) {
        const auto [number, h, part] = units[u];
        const Document& d = documents[number];
        const int64_t at = d.query * heads * dim + h * dim, head = h * rows + d.query;
        float* share = data<float>(dq) + (part * heads * rows + head) * dim;
        if (part >= parts_of(d)) {
          std::fill_n(share, d.shape.queries * dim, 0.0f);
          continue;
        }
        kernel.backward(d.shape, part, parts_of(d), data<T>(q) + at, static_cast<const T*>(d.keys) + h / group * d.head_step,
                        static_cast<const T*>(d.values) + h / group * d.head_step, data<T>(out) + at, data<T>(dout) + at,
                        data<float>(lse) + head, share, data<float>(dk) + head * dim, data<float>(dv) + head * dim, own);
      }
    });
    member.wait();
    const int64_t begin = member.begin(rows), count = member.end(rows) - begin;
    for (int64_t h = 0; h < heads; ++h) {
      kernel.sum_heads(count, dim, parts, heads * rows * dim, data<float>(dq) + (h * rows + begin) * dim, heads * dim,
                       data<T>(g.q) + (begin * heads + h) * dim);
    }
    for (int64_t h = 0; h < kv_heads; ++h) {
      const int64_t from = (h * group * rows + begin) * dim, to = (begin * kv_heads + h) * dim;
      kernel.sum_heads(count, dim, group, rows * dim, data<float>(dk) + from, kv_heads * dim, data<T>(g.k) + to);
      kernel.sum_heads(count, dim, group, rows * dim, data<float>(dv) + from, kv_heads * dim, data<T>(g.v) + to);
    }
  });
  return g;
}

struct RaggedAttention : torch::autograd::Function<RaggedAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& boundaries, double scale, int64_t window) {
    const auto [out, lse] = with_storage_type(q.scalar_type(), [&](auto type) {
      return attention_forward<decltype(type)>(q, whole_documents(q, k, v, boundaries, scale, window), k.size(1));
    });
    ctx->save_for_backward({q, k, v, out, lse});
    ctx->saved_data["boundaries"] = boundaries;
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["window"] = window;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &lse = saved[4];
    const std::vector<Document> documents =
        whole_documents(q, k, v, ctx->saved_data["boundaries"].toIntVector(), ctx->saved_data["scale"].toDouble(),
                        ctx->saved_data["window"].toInt());
    const at::Tensor dout = gradients[0].contiguous();
    const Gradients g = with_storage_type(q.scalar_type(), [&](auto type) {
      return attention_backward<decltype(type)>(q, k, v, out, dout, lse, documents);
    });
    return {g.q, g.k, g.v, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

bool kernels_attend(const at::Tensor& q, const AttentionLimits& limits) {
  constexpr int64_t kMultiple = 16;  // of head_dim, in the kernels
  return q.is_cpu() && limits.softcap == 0 && q.size(2) % kMultiple == 0 &&
         (q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16);
}

// One piece by ATen's operators: what the flash kernels do not know, and other devices. q: [1, heads, n, dim], k and v:
// [1, kv_heads, m, dim] → [1, heads, n, dim]. Differentiable.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Piece& p, int64_t past,
                  double scale, const AttentionLimits& limits) {
  if (limits.softcap == 0) {
    return at::scaled_dot_product_attention(q, k, v, optional_mask(p, past, limits.window, q.options()), 0.0, p.causal,
                                            scale, q.size(1) != k.size(1));
  }
  const int64_t kv_heads = k.size(1), group = q.size(1) / kv_heads;
  const at::Tensor queries = q.reshape({kv_heads, group, q.size(2), q.size(3)}).to(at::kFloat);
  const at::Tensor keys = k.squeeze(0).unsqueeze(1).to(at::kFloat), values = v.squeeze(0).unsqueeze(1).to(at::kFloat);
  at::Tensor scores = at::matmul(queries, keys.transpose(2, 3)) * (scale / limits.softcap);
  scores = at::tanh(scores) * limits.softcap;
  if (p.causal || p.masked) scores = scores + mask_of(p, past, limits.window, scores.options());
  return at::matmul(at::softmax(scores, -1), values).reshape(q.sizes()).to(q.scalar_type());
}

// Keys and values of new tokens [n, kv_heads, dim] into a layer's storage [kv_heads, capacity, dim] at `past`.
template <class T>
void write_rows(const T* rows, int64_t n, int64_t kv_heads, int64_t dim, int64_t capacity, int64_t past, T* storage) {
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t h = 0; h < kv_heads; ++h) {
      std::copy_n(rows + (t * kv_heads + h) * dim, dim, storage + (h * capacity + past + t) * dim);
    }
  }
}

// A few new tokens: the step of decoding, drafted tokens included. Each row goes alone, so its bits do not depend on the
// others.
at::Tensor decode_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const std::vector<int64_t>& boundaries, double scale, KVCache& cache, int64_t layer,
                       int64_t window) {
  const int64_t rows = q.size(0), heads = q.size(1), dim = q.size(2), kv_heads = k.size(1);
  const int64_t group = heads / kv_heads;
  at::Tensor out = at::empty_like(q);
  with_storage_type(q.scalar_type(), [&](auto type) {
    using T = decltype(type);
    struct Row {
      T *keys, *values;
      int64_t capacity, length;
    };
    std::vector<Row> all;
    int64_t total = 0;
    for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
      const int64_t id = cache.active()[d], past = cache.length(id), n = boundaries[d + 1] - boundaries[d];
      const at::Tensor storage = cache.storage(id, layer);
      const int64_t capacity = storage.size(2);
      T* keys = data<T>(storage);
      T* values = keys + kv_heads * capacity * dim;
      write_rows(data<T>(k) + boundaries[d] * kv_heads * dim, n, kv_heads, dim, capacity, past, keys);
      write_rows(data<T>(v) + boundaries[d] * kv_heads * dim, n, kv_heads, dim, capacity, past, values);
      for (int64_t visible = past + 1; visible <= past + n; ++visible) {
        const int64_t seen = window > 0 ? std::min(window, visible) : visible;
        const int64_t skipped = (visible - seen) * dim;
        all.push_back({keys + skipped, values + skipped, capacity, seen});
        total += seen;
      }
    }
    // One unit of work is a (row, KV head); short contexts are not worth a second thread.
    const int64_t units = rows * kv_heads;
    const int64_t cost = std::max<int64_t>(1, total / rows * group * dim);
    const int64_t grain = std::max<int64_t>(1, (1 << 15) / cost);
    at::parallel_for(0, units, grain, [&](int64_t begin, int64_t end) {
      std::vector<float> scores;
      for (int64_t u = begin; u < end; ++u) {
        const Row& s = all[u / kv_heads];
        const int64_t h = u % kv_heads;
        scores.resize(s.length);
        kernels().typed<T>().decode_attention(group, dim, s.length, data<T>(q) + u * group * dim,
                                              s.keys + h * s.capacity * dim, s.values + h * s.capacity * dim,
                                              static_cast<float>(scale), scores.data(),
                                              data<T>(out) + u * group * dim);
      }
    });
  });
  return out;
}

void check_documents(const std::vector<int64_t>& boundaries) {
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    TORCH_CHECK(boundaries[d] < boundaries[d + 1], "document ", d, " of the ragged batch is empty");
  }
}

}  // namespace

at::Tensor ragged_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& boundaries, double scale, const AttentionLimits& limits) {
  check_documents(boundaries);
  if (kernels_attend(q, limits)) {
    return RaggedAttention::apply(q.contiguous(), k.contiguous(), v.contiguous(), boundaries, scale, limits.window);
  }
  std::vector<at::Tensor> out;
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    const at::Tensor dq = document(q, boundaries, d), dk = document(k, boundaries, d), dv = document(v, boundaries, d);
    for (const Piece& p : pieces_of(0, dq.size(2), limits.window)) {
      out.push_back(attend(queries_of(dq, p), keys_of(dk, p), keys_of(dv, p), p, 0, scale, limits)
                        .squeeze(0)
                        .transpose(0, 1));
    }
  }
  return at::cat(out, 0);
}

at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& boundaries, double scale, KVCache& cache, int64_t layer,
                            const AttentionLimits& limits) {
  const int64_t documents = static_cast<int64_t>(boundaries.size()) - 1;
  TORCH_CHECK(static_cast<int64_t>(cache.active().size()) == documents, "the cache has ", cache.active().size(),
              " active sequences for ", documents, " documents");
  const bool decoding = (q.size(0) == documents || q.size(0) <= kRowKernelRows) && q.is_cpu() && limits.softcap == 0 && kernel_ready(q) &&
                        k.is_contiguous() && v.is_contiguous();
  if (decoding) return decode_step(q, k, v, boundaries, scale, cache, layer, limits.window);

  const bool by_kernel = kernels_attend(q, limits) && q.scalar_type() == cache.shape().dtype;
  at::Tensor out = by_kernel ? at::Tensor() : at::empty_like(q);
  std::vector<Document> prefills;
  std::vector<at::Tensor> storages;  // outlive the pass
  for (int64_t d = 0; d < documents; ++d) {
    const int64_t id = cache.active()[d], past = cache.length(id), n = boundaries[d + 1] - boundaries[d];
    const at::Tensor storage = cache.storage(id, layer);
    storage.select(0, 0).narrow(1, past, n).copy_(k.narrow(0, boundaries[d], n).transpose(0, 1));
    storage.select(0, 1).narrow(1, past, n).copy_(v.narrow(0, boundaries[d], n).transpose(0, 1));
    if (by_kernel) {
      prefills.push_back({.query = boundaries[d],
                          .keys = storage.select(0, 0).const_data_ptr(),
                          .values = storage.select(0, 1).const_data_ptr(),
                          .head_step = storage.size(2) * storage.size(3),
                          .shape = {.queries = n,
                                    .past = past,
                                    .dim = q.size(2),
                                    .query_stride = q.size(1) * q.size(2),
                                    .key_stride = q.size(2),
                                    .window = limits.window,
                                    .scale = static_cast<float>(scale)}});
      storages.push_back(storage);
      continue;
    }
    const at::Tensor keys = storage.select(0, 0).unsqueeze(0), values = storage.select(0, 1).unsqueeze(0);
    const at::Tensor queries = document(q, boundaries, d), result = document(out, boundaries, d);
    for (const Piece& p : pieces_of(past, n, limits.window)) {
      queries_of(result, p).copy_(attend(queries_of(queries, p), keys_of(keys, p), keys_of(values, p), p, past, scale, limits));
    }
  }
  if (!by_kernel) return out;
  const at::Tensor queries = q.contiguous();
  return with_storage_type(q.scalar_type(), [&](auto type) {
    return attention_forward<decltype(type)>(queries, prefills, k.size(1)).first;
  });
}

}  // namespace continuo
