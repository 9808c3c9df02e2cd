// Attention a document and a block of queries at a time. With a window the blocks are of its size,
// so that the cost is n · window.

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "nn/aten/attention_pieces.h"
#include "nn/aten/kv_cache.h"
#include "nn/aten/ops.h"

namespace continuo::aten {

namespace {

constexpr int64_t kLongestPiece = 1024;  // keeps the scores of long documents small

// Queries and keys of a piece, heads first and those with common keys together, in float32.
struct PieceTensors {
  at::Tensor q;     // [kv_heads, group, n, dim]
  at::Tensor k, v;  // [kv_heads, 1, m, dim]
};

// x: [rows, heads, dim] → [kv_heads, heads / kv_heads, end − begin, dim] float32
at::Tensor heads_of(const at::Tensor& x, int64_t begin, int64_t end, int64_t kv_heads) {
  const at::Tensor rows = x.narrow(0, begin, end - begin).transpose(0, 1);
  return rows.reshape({kv_heads, x.size(1) / kv_heads, end - begin, x.size(2)}).to(at::kFloat);
}

// The inverse: [kv_heads, group, n, dim] → [n, heads, dim].
at::Tensor rows_of(const at::Tensor& x) {
  return x.reshape({x.size(0) * x.size(1), x.size(2), x.size(3)}).transpose(0, 1);
}

struct Scores {
  at::Tensor masked;  // [kv_heads, group, n, m]: scaled, capped, −inf where unseen
  at::Tensor slope;   // d(capped)/d(scaled), or undefined where it is 1
};

Scores scores_of(const PieceTensors& t, const Piece& p, int64_t past, const AttendOptions& o) {
  Scores s;
  s.masked = at::matmul(t.q, t.k.transpose(2, 3)) * o.scale;
  if (o.softcap > 0) {
    const at::Tensor bent = at::tanh(s.masked / o.softcap);
    s.slope = 1 - bent * bent;
    s.masked = bent * o.softcap;
  }
  s.masked = s.masked + mask_of(p, past, o.window, t.q.device());
  return s;
}

void check_documents(const std::vector<int64_t>& boundaries) {
  for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
    TORCH_CHECK(boundaries[d] < boundaries[d + 1], "document ", d, " of the batch is empty");
  }
}

// Gradients of one piece, added to `g`; `at` is the document's first row.
void add_piece_backward(const AttendInput& in, const AttendValues& values, const at::Tensor& dout,
                        int64_t at, const Piece& p, AttendGradients& g) {
  const int64_t kv_heads = in.k.size(1), n = p.query_end - p.query_begin;
  const PieceTensors t = {heads_of(in.q, at + p.query_begin, at + p.query_end, kv_heads),
                          heads_of(in.k, at + p.key_begin, at + p.key_end, kv_heads),
                          heads_of(in.v, at + p.key_begin, at + p.key_end, kv_heads)};
  const at::Tensor out = heads_of(values.out, at + p.query_begin, at + p.query_end, kv_heads);
  const at::Tensor grad = heads_of(dout, at + p.query_begin, at + p.query_end, kv_heads);
  const at::Tensor lse = values.lse.narrow(1, at + p.query_begin, n)
                             .reshape({kv_heads, in.q.size(1) / kv_heads, n, 1});
  const Scores s = scores_of(t, p, 0, in.options);
  const at::Tensor weights = (s.masked - lse).exp();
  // dscore = p · (dp − Σ out · dout), the sum over the head's dimensions.
  at::Tensor dscores =
      weights * (at::matmul(grad, t.v.transpose(2, 3)) - (grad * out).sum(3, /*keepdim=*/true));
  if (s.slope.defined()) dscores = dscores * s.slope;
  dscores = dscores * in.options.scale;
  g.q.narrow(0, at + p.query_begin, n).add_(rows_of(at::matmul(dscores, t.k)));
  const int64_t m = p.key_end - p.key_begin;
  const auto add_keys = [&](at::Tensor& sum, const at::Tensor& of_heads) {
    sum.narrow(0, at + p.key_begin, m).add_(rows_of(of_heads.sum(1, /*keepdim=*/true)));
  };
  add_keys(g.k, at::matmul(dscores.transpose(2, 3), t.q));
  add_keys(g.v, at::matmul(weights.transpose(2, 3), grad));
}

}  // namespace

AttendValues attend(const AttendInput& in) {
  check_documents(in.boundaries);
  const int64_t heads = in.q.size(1), kv_heads = in.k.size(1);
  AttendValues values{at::empty_like(in.q),
                      at::empty({heads, in.q.size(0)}, in.q.options().dtype(at::kFloat))};
  for (size_t d = 0; d + 1 < in.boundaries.size(); ++d) {
    const int64_t at = in.boundaries[d];
    for (const Piece& p :
         pieces_of(0, in.boundaries[d + 1] - at, in.options.window, kLongestPiece)) {
      const PieceTensors t = {heads_of(in.q, at + p.query_begin, at + p.query_end, kv_heads),
                              heads_of(in.k, at + p.key_begin, at + p.key_end, kv_heads),
                              heads_of(in.v, at + p.key_begin, at + p.key_end, kv_heads)};
      const at::Tensor scores = scores_of(t, p, 0, in.options).masked;
      const at::Tensor lse = scores.logsumexp(3, /*keepdim=*/true);
      const int64_t n = p.query_end - p.query_begin;
      values.out.narrow(0, at + p.query_begin, n)
          .copy_(rows_of(at::matmul((scores - lse).exp(), t.v)));
      values.lse.narrow(1, at + p.query_begin, n).copy_(lse.reshape({heads, n}));
    }
  }
  return values;
}

AttendGradients attend_backward(const AttendInput& in, const AttendValues& values,
                                const at::Tensor& dout) {
  const auto wide = in.q.options().dtype(at::kFloat);
  AttendGradients g{at::zeros(in.q.sizes(), wide), at::zeros(in.k.sizes(), wide),
                    at::zeros(in.v.sizes(), wide)};
  for (size_t d = 0; d + 1 < in.boundaries.size(); ++d) {
    const int64_t at = in.boundaries[d];
    for (const Piece& p :
         pieces_of(0, in.boundaries[d + 1] - at, in.options.window, kLongestPiece)) {
      add_piece_backward(in, values, dout, at, p, g);
    }
  }
  const at::ScalarType dtype = in.q.scalar_type();
  return {g.q.to(dtype), g.k.to(dtype), g.v.to(dtype)};
}

std::unique_ptr<KVCache> make_cache(std::span<const LayerCache> layers, at::Device device) {
  return std::make_unique<TensorKVCache>(layers, device);
}

void attend_document(const AttendInput& in, int64_t document, int64_t past, const at::Tensor& keys,
                     const at::Tensor& values, at::Tensor& out) {
  const int64_t kv_heads = in.k.size(1), at = in.boundaries[document],
                n = in.boundaries[document + 1] - at;
  for (const Piece& p : pieces_of(past, n, in.options.window, kLongestPiece)) {
    const auto seen = [&](const at::Tensor& x) {
      return x.narrow(1, p.key_begin, p.key_end - p.key_begin).unsqueeze(1).to(at::kFloat);
    };
    const PieceTensors t = {heads_of(in.q, at + p.query_begin, at + p.query_end, kv_heads),
                            seen(keys), seen(values)};
    const at::Tensor weights = scores_of(t, p, past, in.options).masked.softmax(3);
    out.narrow(0, at + p.query_begin, p.query_end - p.query_begin)
        .copy_(rows_of(at::matmul(weights, t.v)));
  }
}

at::Tensor attend_cached(const AttendInput& in, const CachedSequences& cached, int64_t layer) {
  auto* cache = dynamic_cast<TensorKVCache*>(&cached.cache);
  if (!cache) fail("the cache belongs to another backend");
  check_documents(in.boundaries);
  at::Tensor out = at::empty_like(in.q);
  for (size_t d = 0; d + 1 < in.boundaries.size(); ++d) {
    const int64_t id = cached.ids[d], past = cache->length(id), at = in.boundaries[d],
                  n = in.boundaries[d + 1] - at;
    const at::Tensor& storage = cache->storage(id, layer);
    const at::Tensor keys = storage.select(0, 0), values = storage.select(0, 1);
    keys.narrow(1, past, n).copy_(in.k.narrow(0, at, n).transpose(0, 1));
    values.narrow(1, past, n).copy_(in.v.narrow(0, at, n).transpose(0, 1));
    attend_document(in, static_cast<int64_t>(d), past, keys, values, out);
  }
  return out;
}

}  // namespace continuo::aten
