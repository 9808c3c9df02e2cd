#include "nn/matmul.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

#include "nn/kernels/kernels.h"
#include "nn/kernels/span.h"
#include "nn/team.h"

namespace continuo {

namespace {

// Measured on Zen 4: MKL, which knows no AMD processor by name, reaches 60–85 % of the fused
// multiply-adds that the cores can do in float32, oneDNN 80–88 % of the dot products in bfloat16,
// these kernels 93–97 % of both; with AVX2 they are level with MKL. Processors with matrix units of
// their own (AMX) have far more to give than AVX-512, and oneDNN uses them.
bool choose_own(at::ScalarType dtype) {
  const std::string_view wanted =
      std::getenv("CONTINUO_MATMUL") ? std::getenv("CONTINUO_MATMUL") : "";
  if (wanted == "own" || wanted == "aten") return wanted == "own";
#if defined(__x86_64__)
  const std::string_view isa = kernels().instruction_set;
  __builtin_cpu_init();
  if (!__builtin_cpu_is("amd")) return false;
  return dtype == at::kFloat ? isa.starts_with("avx") : isa == "avx512vnni";
#else
  (void)dtype;
  return false;
#endif
}

// Where a matrix lies.
template <class T>
struct Operand {
  const T* values;
  int64_t stride;
  Along along;

  // The part that begins at row (or column) n and step k.
  const T* at(int64_t n, int64_t k) const {
    return along == Along::rows ? values + n * stride + k : values + k * stride + n;
  }
};

// Bytes of k at once: a block of A and a panel of B stay in the second cache. In float32 less: sums
// of partial sums round less.
template <class T>
constexpr int64_t kDepthBytes = sizeof(T) == sizeof(float) ? 1024 : 6144;
constexpr int64_t kRightBytes = 4 << 20;  // of B at once: stays in the third
constexpr int64_t kBlockPanels = 4;       // panels of A that a member packs and multiplies at once
constexpr int64_t kGroupPanels = 16;  // panels of B in a unit of work: the last ones end together

// C [m, n] (+)= A · B. To is float, or T where k is not cut.
template <class T, class To>
void multiply(int64_t m, int64_t n, int64_t k, const Operand<T>& a, const Operand<T>& b, To* c,
              bool add) {
  const GemmKernels<T>& kernel = kernels().gemm<T>();
  const int64_t longest = kDepthBytes<T> / static_cast<int64_t>(sizeof(T));
  const auto padded = [&](int64_t x, int64_t multiple) {
    return (x + multiple - 1) / multiple * multiple;
  };
  const int64_t depth = std::min(padded(k, kernel.depth), longest);
  const int64_t threads = at::get_num_threads();
  // Blocks of A small enough that all members have some.
  const int64_t left_panels = (m + kernel.rows - 1) / kernel.rows;
  const int64_t block =
      kernel.rows * std::clamp<int64_t>(left_panels / (8 * threads), 1, kBlockPanels);
  const int64_t blocks = (m + block - 1) / block;
  const int64_t fitting =
      kRightBytes / (depth * static_cast<int64_t>(sizeof(T))) / kernel.columns * kernel.columns;
  const int64_t width = std::min(padded(n, kernel.columns), std::max(fitting, kernel.columns));
  const auto options = at::TensorOptions(at::kByte);
  const at::Tensor right_memory =
      at::empty({width * depth * static_cast<int64_t>(sizeof(T))}, options);
  const at::Tensor left_memory =
      at::empty({threads * block * depth * static_cast<int64_t>(sizeof(T))}, options);
  T* right = data<T>(right_memory);

  Team::run([&](const Team::Member& member) {
    T* left = data<T>(left_memory) + member.rank * block * depth;
    for (int64_t column = 0; column < n; column += width) {
      const int64_t columns = std::min(width, n - column),
                    panels = (columns + kernel.columns - 1) / kernel.columns;
      for (int64_t from = 0; from < k; from += depth) {
        const int64_t steps = std::min(depth, k - from), packed = padded(steps, kernel.depth);
        const bool sums = add || from > 0;
        member.deal(panels, [&](int64_t first, int64_t last) {
          const int64_t begin = first * kernel.columns,
                        count = std::min(columns, last * kernel.columns) - begin;
          kernel.pack_right(b.along, count, steps, b.at(column + begin, from), b.stride, packed,
                            right + begin * packed);
        });
        member.wait();
        const int64_t groups = std::max<int64_t>(1, panels / kGroupPanels);
        int64_t held = -1;  // the row whose block `left` holds
        member.deal(blocks * groups, [&](int64_t first, int64_t last) {
          for (int64_t i = first; i < last; ++i) {
            const int64_t row = i / groups * block, rows = std::min(block, m - row),
                          group = i % groups;
            if (row != held)
              kernel.pack_left(a.along, rows, steps, a.at(row, from), a.stride, packed, left);
            held = row;
            for (int64_t p = panels * group / groups; p < panels * (group + 1) / groups; ++p) {
              const int64_t at = p * kernel.columns, here = std::min(kernel.columns, columns - at);
              To* to = c + row * n + column + at;
              if constexpr (sizeof(To) == sizeof(float)) {
                kernel.multiply_float(a.along, rows, here, packed, left, right + at * packed, to, n,
                                      sums);
              } else {
                kernel.multiply_narrow(a.along, rows, here, packed, left, right + at * packed, to,
                                       n, sums);
              }
            }
          }
        });
        member.wait();
      }
    }
  });
}

template <class T>
void multiply_into(at::Tensor& c, int64_t k, const Operand<T>& a, const Operand<T>& b, bool add) {
  const int64_t m = c.size(0), n = c.size(1);
  if (m == 0 || n == 0 || (k == 0 && add)) return;
  if (k == 0) {
    c.zero_();
    return;
  }
  if (c.scalar_type() == at::kFloat) return multiply<T, float>(m, n, k, a, b, data<float>(c), add);
  if (k <= kDepthBytes<T> / static_cast<int64_t>(sizeof(T)))
    return multiply<T, T>(m, n, k, a, b, data<T>(c), add);
  at::Tensor wide = add ? c.to(at::kFloat) : at::empty(c.sizes(), c.options().dtype(at::kFloat));
  multiply<T, float>(m, n, k, a, b, data<float>(wide), add);
  c.copy_(wide);
}

// c (+)= a · b, where `along` says how k lies in each.
void own_product(at::Tensor& c, const at::Tensor& a, Along a_along, const at::Tensor& b,
                 Along b_along, bool add) {
  const at::Tensor left = a.contiguous(), right = b.contiguous();
  with_storage_type(a.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const int64_t k = a.size(a_along == Along::rows ? 1 : 0);
    multiply_into<T>(c, k, {data<T>(left), left.size(1), a_along},
                     {data<T>(right), right.size(1), b_along}, add);
  });
}

bool ours(const at::Tensor& a, const at::Tensor& b) {
  return a.is_cpu() && a.scalar_type() == b.scalar_type() && own_matmul(a.scalar_type());
}

}  // namespace

bool own_matmul(at::ScalarType dtype) {
  static const bool own[2] = {choose_own(at::kFloat), choose_own(at::kBFloat16)};
  return dtype == at::kFloat ? own[0] : dtype == at::kBFloat16 && own[1];
}

at::Tensor matmul_nt(const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b)) return at::linear(a, b);
  at::Tensor c = at::empty({a.size(0), b.size(0)}, a.options());
  own_product(c, a, Along::rows, b, Along::rows, false);
  return c;
}

at::Tensor matmul_nn(const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b)) return at::mm(a, b);
  at::Tensor c = at::empty({a.size(0), b.size(1)}, a.options());
  own_product(c, a, Along::rows, b, Along::columns, false);
  return c;
}

at::Tensor matmul_tn(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype) {
  if (!ours(a, b)) return at::mm(a.t(), b).to(dtype);
  at::Tensor c = at::empty({a.size(1), b.size(1)}, a.options().dtype(dtype));
  own_product(c, a, Along::columns, b, Along::columns, false);
  return c;
}

void add_matmul_nt(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b)) {
    sum.addmm_(a, b.t());
  } else {
    own_product(sum, a, Along::rows, b, Along::rows, true);
  }
}

void add_matmul_nn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b)) {
    sum.addmm_(a, b);
  } else {
    own_product(sum, a, Along::rows, b, Along::columns, true);
  }
}

void add_matmul_tn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (ours(a, b)) {
    own_product(sum, a, Along::columns, b, Along::columns, true);
  } else if (sum.scalar_type() == a.scalar_type()) {
    sum.addmm_(a.t(), b);
  } else {
    sum.add_(at::mm(a.t(), b));
  }
}

}  // namespace continuo
