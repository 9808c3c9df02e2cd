// Attention over a page and the engine's row kernels, of every instruction set, against double
// precision.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/page.h"

namespace continuo {
namespace {

std::vector<float> page_numbers(int64_t n, int64_t salt) {
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i)
    values[i] = std::sin(static_cast<float>(i * (2 * salt + 1)) * 0.37f) * 1.5f;
  return values;
}

class PageKernelTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    table_ = kernels_for(GetParam());
    if (!table_) GTEST_SKIP() << "this CPU has no " << GetParam();
  }
  const Kernels* table_ = nullptr;
};

// One KV head of a page with the tokens of `keys` and `values`, [length, dim] each.
template <class T>
struct FilledPage {
  FilledPage(const Kernels& table, int64_t dim, int64_t length, const std::vector<float>& keys,
             const std::vector<float>& values)
      : k(kPageKeys * key_width(dim)),
        v(kPageKeys * padded_dim(dim)),
        ks(kPageKeys),
        vs(kPageKeys) {
    for (int64_t t = 0; t < length; ++t) {
      table.page<T>().write({.key_dim = dim,
                             .value_dim = dim,
                             .at = t,
                             .key = keys.data() + t * dim,
                             .value = values.data() + t * dim,
                             .keys = k.data(),
                             .values = v.data(),
                             .key_scales = ks.data(),
                             .value_scales = vs.data()});
    }
  }
  std::vector<T> k, v;
  std::vector<float> ks, vs;
};

template <class T>
void expect_softmax_average(const Kernels& table, double tolerance, float softcap) {
  for (const int64_t dim : {5, 6, 16, 64, 80, 256}) {
    const int64_t length = 250, queries = 19;
    const std::vector<float> q = page_numbers(queries * dim, 5), k = page_numbers(length * dim, 6),
                             v = page_numbers(length * dim, 7);
    const FilledPage<T> page(table, dim, length, k, v);
    const float scale = 0.3f / std::sqrt(static_cast<float>(dim));
    std::vector<KeyRange> ranges;
    for (int32_t i = 0; i < queries; ++i) ranges.push_back({i % 4 == 0 ? 0 : 7 * i, 13 * i + 1});
    ranges[5] = {9, 9};  // sees nothing here
    std::vector<float> scores(page_scratch(dim)), out(queries * padded_dim(dim));
    std::vector<AttentionPart> parts(queries);
    const PageInput<T> input = {.queries = queries,
                                .key_dim = dim,
                                .value_dim = dim,
                                .q = q.data(),
                                .ranges = ranges.data(),
                                .keys = page.k.data(),
                                .values = page.v.data(),
                                .key_scales = page.ks.data(),
                                .value_scales = page.vs.data(),
                                .scale = scale,
                                .softcap = softcap};
    table.page<T>().attend(input, scores.data(), parts.data(), out.data());
    EXPECT_EQ(parts[5].total, 0);
    for (int64_t i = 0; i < queries; ++i) {
      if (i == 5) continue;
      std::vector<double> p(length, 0);
      double high = -INFINITY, total = 0;
      for (int64_t t = ranges[i].begin; t < ranges[i].end; ++t) {
        for (int64_t d = 0; d < dim; ++d)
          p[t] += static_cast<double>(q[i * dim + d]) * k[t * dim + d];
        p[t] *= scale;
        if (softcap > 0) p[t] = softcap * std::tanh(p[t] / softcap);
        high = std::max(high, p[t]);
      }
      for (int64_t t = ranges[i].begin; t < ranges[i].end; ++t)
        total += p[t] = std::exp(p[t] - high);
      EXPECT_NEAR(parts[i].high, high, tolerance);
      for (int64_t d = 0; d < dim; ++d) {
        double sum = 0;
        for (int64_t t = ranges[i].begin; t < ranges[i].end; ++t) sum += p[t] * v[t * dim + d];
        ASSERT_NEAR(out[i * padded_dim(dim) + d] / parts[i].total, sum / total, tolerance)
            << "dim " << dim << ", query " << i << ", value " << d;
      }
      // A query alone, whatever else its tile would have looked at.
      std::vector<float> own(padded_dim(dim));
      AttentionPart part;
      PageInput<T> single = input;
      single.queries = 1;
      single.q = q.data() + i * dim;
      single.ranges = ranges.data() + i;
      table.page<T>().attend(single, scores.data(), &part, own.data());
      EXPECT_EQ(part.high, parts[i].high);
      EXPECT_EQ(part.total, parts[i].total);
      EXPECT_EQ(std::memcmp(own.data(), out.data() + i * padded_dim(dim), dim * sizeof(float)), 0)
          << "dim " << dim << ", query " << i;
    }
  }
}

TEST_P(PageKernelTest, AttentionIsASoftmaxAverageInAnyCompany) {
  for (const float softcap : {0.0f, 0.4f}) {
    expect_softmax_average<float>(*table_, 1e-5, softcap);
    expect_softmax_average<uint16_t>(*table_, 0.02, softcap);
    expect_softmax_average<int8_t>(*table_, 0.02, softcap);
  }
}

TEST_P(PageKernelTest, MergedPartsAreTheWhole) {
  const int64_t dim = 16;
  const std::vector<float> first = page_numbers(dim, 1), second = page_numbers(dim, 2);
  AttentionPart part = {0, 0};
  std::vector<float> out(dim, -1);
  table_->engine.merge(dim, {3, 2}, first.data(), part, out.data());
  EXPECT_EQ(out, first);
  table_->engine.merge(dim, {-1, 0}, second.data(), part, out.data());
  EXPECT_EQ(out, first) << "nothing was seen there";
  table_->engine.merge(dim, {5, 7}, second.data(), part, out.data());
  EXPECT_EQ(part.high, 5);
  EXPECT_NEAR(part.total, 2 * std::exp(-2.0) + 7, 1e-5);
  for (int64_t i = 0; i < dim; ++i)
    EXPECT_NEAR(out[i], first[i] * std::exp(-2.0) + second[i], 1e-5);
}

double activated_in_double(Activation activation, double x) {
  switch (activation) {
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::gelu:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::relu:
      break;
  }
  return std::max(x, 0.0);
}

TEST_P(PageKernelTest, GatesFollowTheirFormulas) {
  std::vector<float> x, up;
  for (int i = -1203; i < 1210; ++i) {
    x.push_back(static_cast<float>(i) * 0.01f);
    up.push_back(static_cast<float>(i % 7) * 0.5f + 0.25f);
  }
  x.insert(x.end(), {-100.0f, 100.0f, 0.0f});
  up.insert(up.end(), {1.0f, 1.0f, 1.0f});
  const auto n = static_cast<int64_t>(x.size());
  for (const Activation activation :
       {Activation::silu, Activation::gelu, Activation::gelu_tanh, Activation::relu}) {
    std::vector<float> gated(n), plain(n);
    table_->engine.gate(activation, n, x.data(), up.data(), gated.data());
    table_->engine.gate(activation, n, x.data(), nullptr, plain.data());
    for (int64_t i = 0; i < n; ++i) {
      const double expected = activated_in_double(activation, x[i]);
      ASSERT_NEAR(plain[i], expected, 1e-6 + 3e-7 * std::abs(x[i])) << x[i];
      ASSERT_NEAR(gated[i], expected * up[i], 4e-6 + 1e-6 * std::abs(x[i])) << x[i];
      // The last element of a row comes from a filled-up vector.
      float alone;
      table_->engine.gate(activation, 1, x.data() + i, up.data() + i, &alone);
      ASSERT_EQ(alone, gated[i]);
    }
  }
}

TEST_P(PageKernelTest, LayerNormsAndCapsFollowTheirFormulas) {
  for (const int64_t n : {1, 16, 37, 64}) {
    const std::vector<float> x = page_numbers(n, 3), w = page_numbers(n, 4), b = page_numbers(n, 8);
    std::vector<float> y(n), capped = x;
    table_->engine.layer_norm(n, x.data(), w.data(), b.data(), 1e-3f, y.data());
    double mean = 0, variance = 0;
    for (const float v : x) mean += v / static_cast<double>(n);
    for (const float v : x) variance += (v - mean) * (v - mean) / static_cast<double>(n);
    table_->engine.cap(n, 0.7f, capped.data());
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_NEAR(y[i], (x[i] - mean) / std::sqrt(variance + 1e-3) * w[i] + b[i], 2e-5);
      EXPECT_NEAR(capped[i], 0.7 * std::tanh(x[i] / 0.7), 1e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, PageKernelTest, testing::ValuesIn(kInstructionSets));

}  // namespace
}  // namespace continuo
