// The attention kernels of training and prefill against double precision, for every instruction
// set, both storage types, odd lengths, windows and keys that lie before the first query.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "nn/cpu/kernels/kernels.h"

namespace continuo {
namespace {

struct Problem {
  int64_t queries, past, dim, window;
};

float stored(float, float x) { return x; }
uint16_t stored(uint16_t, float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return static_cast<uint16_t>(bits >> 16);
}
double read(float x) { return x; }
double read(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

template <class T>
struct AttentionHead {
  Problem p;
  AttentionShape shape;
  std::vector<T> q, k, v, dout;
  std::vector<std::vector<double>> probabilities;  // [queries][keys]
  std::vector<double> out, lse, dq, dk, dv;

  explicit AttentionHead(const Problem& problem) : p(problem) {
    const int64_t keys = p.past + p.queries, stride = p.dim + 16;  // heads of others lie between
    shape = {.queries = p.queries,
             .past = p.past,
             .dim = p.dim,
             .query_stride = stride,
             .key_stride = stride,
             .window = p.window,
             .scale = 0.2f};
    const auto wave = [&](int64_t rows, double salt) {
      std::vector<T> x(rows * stride);
      for (int64_t i = 0; i < rows * stride; ++i)
        x[i] = stored(T{}, static_cast<float>(std::sin(salt * (i + 1) + i % 13)));
      return x;
    };
    q = wave(p.queries, 0.71), k = wave(keys, 0.37), v = wave(keys, 0.53),
    dout = wave(p.queries, 0.29);
    solve(keys, stride);
  }

  static constexpr bool kHalf = sizeof(T) == 2;

 private:
  void solve(int64_t keys, int64_t stride) {
    const auto n = static_cast<size_t>(p.queries * p.dim), m = static_cast<size_t>(keys * p.dim);
    out.assign(n, 0), dq.assign(n, 0), dk.assign(m, 0), dv.assign(m, 0);
    for (int64_t i = 0; i < p.queries; ++i) {
      const int64_t last = p.past + i,
                    first = p.window > 0 ? std::max<int64_t>(0, last - p.window + 1) : 0;
      std::vector<double> s(keys, 0.0), dp(keys, 0.0);
      double high = -1e300, total = 0, mean = 0;
      for (int64_t j = first; j <= last; ++j) {
        for (int64_t d = 0; d < p.dim; ++d)
          s[j] += read(q[i * stride + d]) * read(k[j * stride + d]);
        s[j] *= shape.scale;
        high = std::max(high, s[j]);
      }
      for (int64_t j = first; j <= last; ++j) total += std::exp(s[j] - high);
      lse.push_back(high + std::log(total));
      for (int64_t j = 0; j < keys; ++j)
        s[j] = j < first || j > last ? 0 : std::exp(s[j] - lse.back());
      for (int64_t j = first; j <= last; ++j) {
        for (int64_t d = 0; d < p.dim; ++d) {
          out[i * p.dim + d] += s[j] * read(v[j * stride + d]);
          dp[j] += read(dout[i * stride + d]) * read(v[j * stride + d]);
          dv[j * p.dim + d] += s[j] * read(dout[i * stride + d]);
        }
        mean += s[j] * dp[j];
      }
      for (int64_t j = first; j <= last; ++j) {
        const double ds = s[j] * (dp[j] - mean) * shape.scale;
        for (int64_t d = 0; d < p.dim; ++d) {
          dq[i * p.dim + d] += ds * read(k[j * stride + d]);
          dk[j * p.dim + d] += ds * read(q[i * stride + d]);
        }
      }
    }
  }
};

const Problem kProblems[] = {{1, 0, 16, 0},    {7, 0, 16, 0},    {64, 0, 64, 0},  {65, 0, 64, 0},
                             {130, 0, 64, 0},  {197, 0, 48, 0},  {129, 0, 80, 0}, {40, 0, 128, 0},
                             {150, 0, 32, 20}, {200, 0, 32, 64}, {131, 0, 16, 3}};

class AttentionKernelTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    table_ = kernels_for(GetParam());
    if (!table_) GTEST_SKIP() << "this CPU has no " << GetParam();
  }

  template <class T>
  void forward(const AttentionHead<T>& head, std::vector<T>& out, std::vector<float>& lse) const {
    const AttentionKernels<T>& kernel = table_->attention<T>();
    const AttentionShape& s = head.shape;
    std::vector<T> packed(kernel.packed_values(s.keys(), s.dim));
    kernel.pack_values(s.keys(), s.dim, s.key_stride, head.v.data(), packed.data());
    out.assign(head.q.size(), T{}), lse.assign(s.queries, 0);
    std::vector<std::byte> memory(kernel.forward_scratch(s.dim) + 64);
    std::byte* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
    for (int64_t begin = 0; begin < s.queries; begin += kAttentionTile) {
      kernel.forward(s,
                     {.q = head.q.data(),
                      .k = head.k.data(),
                      .v = head.v.data(),
                      .packed = packed.empty() ? nullptr : packed.data(),
                      .out = out.data(),
                      .lse = lse.data()},
                     begin, std::min(s.queries, begin + kAttentionTile), scratch);
    }
  }

  template <class T>
  void check_forward(const Problem& problem) const {
    const AttentionHead<T> head(problem);
    std::vector<T> out;
    std::vector<float> lse;
    forward(head, out, lse);
    const double bound = AttentionHead<T>::kHalf ? 1.5e-2 : 2e-5;
    for (int64_t i = 0; i < problem.queries; ++i) {
      ASSERT_NEAR(lse[i], head.lse[i], AttentionHead<T>::kHalf ? 1e-3 : 2e-5) << i;
      for (int64_t d = 0; d < problem.dim; ++d) {
        ASSERT_NEAR(read(out[i * head.shape.query_stride + d]), head.out[i * problem.dim + d],
                    bound)
            << i << ' ' << d;
      }
    }
  }

  template <class T>
  void check_backward(const Problem& problem, int64_t parts) const {
    const AttentionHead<T> head(problem);
    std::vector<T> out;
    std::vector<float> lse, dk(problem.queries * problem.dim), dv(dk.size()), dq(dk.size()),
        share(dk.size());
    forward(head, out, lse);
    const AttentionKernels<T>& kernel = table_->attention<T>();
    std::vector<std::byte> memory(kernel.backward_scratch(problem.queries, problem.dim) + 64);
    std::byte* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
    for (int64_t part = 0; part < parts; ++part) {
      kernel.backward(head.shape,
                      {.q = head.q.data(),
                       .k = head.k.data(),
                       .v = head.v.data(),
                       .out = out.data(),
                       .dout = head.dout.data(),
                       .lse = lse.data(),
                       .dq = share.data(),
                       .dk = dk.data(),
                       .dv = dv.data()},
                      part, parts, scratch);
      for (size_t i = 0; i < dq.size(); ++i) dq[i] += share[i];
    }
    double scale = 0;
    for (const auto* exact : {&head.dq, &head.dk, &head.dv}) {
      for (const double x : *exact) scale = std::max(scale, std::abs(x));
    }
    const double bound = (AttentionHead<T>::kHalf ? 2e-2 : 1e-5) * std::max(scale, 1.0);
    for (int64_t i = 0; i < problem.queries; ++i) {
      for (int64_t d = 0; d < problem.dim; ++d) {
        const int64_t at = i * problem.dim + d;
        ASSERT_NEAR(dq[at], head.dq[at], bound) << i << ' ' << d;
        ASSERT_NEAR(dk[at], head.dk[at], bound) << i << ' ' << d;
        ASSERT_NEAR(dv[at], head.dv[at], bound) << i << ' ' << d;
      }
    }
  }

  const Kernels* table_ = nullptr;
};

TEST_P(AttentionKernelTest, ForwardIsExact) {
  for (const Problem& p : kProblems) {
    SCOPED_TRACE(testing::Message()
                 << p.queries << " queries, dim " << p.dim << ", window " << p.window);
    check_forward<float>(p);
    check_forward<uint16_t>(p);
  }
}

TEST_P(AttentionKernelTest, ForwardContinuesADocument) {
  for (const Problem& p :
       {Problem{1, 70, 16, 0}, {66, 31, 64, 0}, {65, 129, 32, 40}, {130, 64, 48, 7}}) {
    SCOPED_TRACE(testing::Message()
                 << p.queries << " queries after " << p.past << ", window " << p.window);
    check_forward<float>(p);
    check_forward<uint16_t>(p);
  }
}

TEST_P(AttentionKernelTest, BackwardIsExact) {
  for (const Problem& p : kProblems) {
    SCOPED_TRACE(testing::Message()
                 << p.queries << " queries, dim " << p.dim << ", window " << p.window);
    for (const int64_t parts : {1, 2, 3}) {
      check_backward<float>(p, parts);
      check_backward<uint16_t>(p, parts);
    }
  }
}

TEST_P(AttentionKernelTest, SumsTheSharesOfHeads) {
  const int64_t n = 3, dim = 16, group = 3;
  std::vector<float> parts(group * 100), to(n * 40, -1.0f);
  for (size_t i = 0; i < parts.size(); ++i) parts[i] = static_cast<float>(i);
  table_->attention_f32.sum_heads({.n = n,
                                   .dim = dim,
                                   .group = group,
                                   .parts = parts.data(),
                                   .part_stride = 100,
                                   .to = to.data(),
                                   .stride = 40});
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t d = 0; d < dim; ++d)
      EXPECT_EQ(to[t * 40 + d], static_cast<float>(3 * (t * dim + d) + 300));
    EXPECT_EQ(to[t * 40 + dim], -1.0f);  // what lies between is not touched
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionKernelTest, testing::ValuesIn(kInstructionSets),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace continuo
