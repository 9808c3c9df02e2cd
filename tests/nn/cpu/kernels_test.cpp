// Every instruction set against references in double, over sizes with and without a vector tail.
#include "nn/cpu/kernels/kernels.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"

namespace continuo {
namespace {

std::vector<float> numbers(int64_t n, int salt, float scale = 1.0f) {
  std::vector<float> v(n);
  for (int64_t i = 0; i < n; ++i)
    v[i] = scale * std::sin(0.7f * static_cast<float>(i * 3 + salt) + 0.1f * salt);
  return v;
}

float from_bf16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}
float as_float(float x) { return x; }
float as_float(uint16_t x) { return from_bf16(x); }

template <class T>
std::vector<T> stored(const std::vector<float>& v) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return v;
  } else {
    std::vector<uint16_t> out(v.size());
    for (size_t i = 0; i < v.size(); ++i) {
      uint32_t bits;
      std::memcpy(&bits, &v[i], sizeof bits);
      out[i] = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
    return out;
  }
}

class KernelTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    table_ = kernels_for(GetParam());
    if (!table_) GTEST_SKIP() << "this CPU has no " << GetParam();
  }
  // Runs the check for both storage types with a relative tolerance of each.
  template <class F>
  void for_types(F check) {
    check(float{}, 2e-5);
    check(uint16_t{}, 1e-2);
  }
  const Kernels* table_ = nullptr;
};

TEST_P(KernelTest, NormMatchesTheFormula) {
  for_types([&](auto type, double tolerance) {
    using T = decltype(type);
    for (const int64_t hidden : {1, 15, 16, 33, 64, 100}) {
      const int64_t rows = 3;
      const auto residual = numbers(rows * hidden, 1), weight = numbers(hidden, 2);
      const auto delta = stored<T>(numbers(rows * hidden, 3));
      std::vector<float> sum(rows * hidden), rstd(rows);
      std::vector<T> y(rows * hidden);
      table_->typed<T>().add_rms_norm({.rows = rows,
                                       .hidden = hidden,
                                       .residual = residual.data(),
                                       .delta = delta.data(),
                                       .weight = weight.data(),
                                       .eps = 1e-5f,
                                       .sum = sum.data(),
                                       .y = y.data(),
                                       .rstd = rstd.data()});
      for (int64_t r = 0; r < rows; ++r) {
        double squares = 0;
        for (int64_t i = 0; i < hidden; ++i) {
          const double x = residual[r * hidden + i] + as_float(delta[r * hidden + i]);
          EXPECT_NEAR(sum[r * hidden + i], x, 1e-6);
          squares += x * x;
        }
        const double scale = 1 / std::sqrt(squares / static_cast<double>(hidden) + 1e-5);
        for (int64_t i = 0; i < hidden; ++i) {
          const double expected = sum[r * hidden + i] * scale * weight[i];
          EXPECT_NEAR(as_float(y[r * hidden + i]), expected, tolerance * (1 + std::abs(expected)));
        }
      }
    }
  });
}

TEST_P(KernelTest, SwigluMatchesTheFormulaAndItsDerivative) {
  for_types([&](auto type, double tolerance) {
    using T = decltype(type);
    const int64_t n = 37;
    const auto gate = stored<T>(numbers(n, 1, 6)), up = stored<T>(numbers(n, 2, 2)),
               dout = stored<T>(numbers(n, 5));
    std::vector<T> out(n), dgate(n), dup(n);
    table_->typed<T>().swiglu(n, gate.data(), up.data(), out.data());
    table_->typed<T>().swiglu_backward(n, dout.data(), gate.data(), up.data(), dgate.data(),
                                       dup.data());
    for (int64_t i = 0; i < n; ++i) {
      const double g = as_float(gate[i]), u = as_float(up[i]), d = as_float(dout[i]);
      const double s = 1 / (1 + std::exp(-g));
      EXPECT_NEAR(as_float(out[i]), g * s * u, tolerance * (1 + std::abs(g * u)));
      EXPECT_NEAR(as_float(dup[i]), d * g * s, tolerance * (1 + std::abs(d * g)));
      EXPECT_NEAR(as_float(dgate[i]), d * u * s * (1 + g * (1 - s)),
                  tolerance * (1 + std::abs(d * u * g)));
    }
  });
}

TEST_P(KernelTest, CrossEntropyAndItsGradient) {
  for (const int64_t vocabulary : {1, 2, 16, 17, 50}) {
    for (const float smoothing : {0.0f, 0.1f}) {
      for (const float z : {0.0f, 0.01f}) {
        auto logits = numbers(vocabulary, 5, 4);
        const std::vector<float> original = logits;
        const int64_t target = vocabulary / 2;
        const CrossEntropyTerms terms = table_->f32.cross_entropy({.vocabulary = vocabulary,
                                                                   .logits = logits.data(),
                                                                   .target = target,
                                                                   .label_smoothing = smoothing,
                                                                   .z_loss = z,
                                                                   .gradient = true,
                                                                   .scale = 0.5f});
        double total = 0, mean = 0;
        for (const float l : original) total += std::exp(static_cast<double>(l));
        const double lse = std::log(total);
        double entropy = 0;
        int64_t best = 0;
        for (int64_t i = 0; i < vocabulary; ++i) {
          mean += (lse - original[i]) / static_cast<double>(vocabulary);
          const double p = std::exp(original[i] - lse);
          entropy -= p * std::log(p);
          if (original[i] > original[best]) best = i;
          const double d = p * (1 + 2 * z * lse) - smoothing / static_cast<double>(vocabulary) -
                           (i == target ? 1 - smoothing : 0);
          EXPECT_NEAR(logits[i], 0.5 * d, 3e-6) << "V " << vocabulary << " i " << i;
        }
        EXPECT_NEAR(terms.nll, lse - original[target], 1e-5);
        EXPECT_NEAR(terms.loss,
                    (1 - smoothing) * (lse - original[target]) + smoothing * mean + z * lse * lse,
                    2e-5);
        EXPECT_NEAR(terms.entropy, entropy, 1e-5);
        EXPECT_EQ(terms.correct, best == target);
      }
    }
  }
}

TEST_P(KernelTest, CrossEntropyOfHugeLogitsStaysFinite) {
  std::vector<float> logits = {1e30f, -1e30f, 0.0f};
  const CrossEntropyTerms terms = table_->f32.cross_entropy(
      {.vocabulary = 3, .logits = logits.data(), .target = 0, .gradient = true});
  EXPECT_EQ(terms.nll, 0.0f);
  for (const float d : logits) EXPECT_TRUE(std::isfinite(d));
}

TEST_P(KernelTest, Bfloat16RoundsToNearestEvenAndKeepsNaN) {
  // 1 + 2^-8 lies between two bfloat16 values: even wins. The vector path and the tail must agree.
  // The rotation by an angle of 0, stretched, leaves a product and its rounding.
  const std::vector<float> cos(17, 1.00390625f), sin(17, 0.0f);
  const int64_t position = 0;
  for (const size_t odd : {3, 16}) {
    std::vector<uint16_t> given(34, 0x3f80), y(34);
    given[odd] = 0x7fc0;
    table_->bf16.rope({.rows = 1,
                       .heads = 1,
                       .dim = 34,
                       .in = given.data(),
                       .positions = &position,
                       .cos = cos.data(),
                       .sin = sin.data(),
                       .sign = 1,
                       .out = y.data()});
    for (size_t i = 0; i < 17; ++i) {
      if (i == odd) {
        EXPECT_EQ(y[i] & 0x7fff, 0x7fc0);
      } else {
        EXPECT_EQ(y[i], 0x3f80) << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, KernelTest, testing::ValuesIn(kInstructionSets),
                         [](const auto& test) { return std::string(test.param); });

std::string choice_fault(const char* wanted) {
  try {
    choose_kernels(wanted);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(Kernels, TheBestTableIsChosenUnlessOneIsNamed) {
  const Kernels* best = nullptr;
  for (const char* name : kInstructionSets) {
    const Kernels* table = kernels_for(name);
    if (!best) best = table;
    if (table) {
      EXPECT_EQ(&choose_kernels(name), table);
      EXPECT_STREQ(table->instruction_set, name);
    }
  }
  EXPECT_EQ(&choose_kernels(nullptr), best);
  EXPECT_EQ(&choose_kernels(""), best);
  EXPECT_EQ(kernels_for("sparc"), nullptr);
}

TEST(Kernels, AnInstructionSetThatIsNotThereIsAnError) {
  const std::string unknown = choice_fault("avx3");
  EXPECT_NE(unknown.find("CONTINUO_ISA=avx3"), std::string::npos) << unknown;
  EXPECT_NE(unknown.find("avx512vnni, avx512, avx2, portable"), std::string::npos) << unknown;
  for (const char* name : kInstructionSets) {
    if (kernels_for(name)) continue;
    const std::string absent = choice_fault(name);
    // A build may have been made for this machine's best alone.
    EXPECT_TRUE(absent.find(std::string("this CPU has no ") + name) != std::string::npos ||
                absent.find(std::string("this build has no ") + name) != std::string::npos)
        << absent;
    EXPECT_NE(absent.find("portable"), std::string::npos) << absent;
  }
}

}  // namespace
}  // namespace continuo
