#include "nn/cpu/matmul.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "core/error.h"
#include "nn/aten/ops.h"
#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"
#include "nn/cpu/team.h"

namespace continuo {

namespace {

// Our products are the default: a row's bits depend on nothing but the row. Measured on Zen 4: MKL,
// which knows no AMD processor by name, reaches 60–85 % of the fused multiply-adds that the cores
// can do in float32, oneDNN 80–88 % of the dot products in bfloat16, these kernels 93–97 % of both.
// With AVX2 bfloat16 is as fast as float32, where ATen's products of bfloat16 are many times
// slower. Processors with matrix units of their own (AMX) have far more to give in bfloat16 than
// AVX-512; oneDNN uses them, for results in bfloat16.
bool choose_own(at::ScalarType result) {
  const char* setting = std::getenv("CONTINUO_MATMUL");
  const std::string_view wanted = setting ? setting : "";
  if (wanted == "own" || wanted == "aten") return wanted == "own";
  if (!wanted.empty()) {
    throw Error(fmt::format("CONTINUO_MATMUL={} names no matrix products", wanted),
                "Use own or aten, or leave it unset.");
  }
#if defined(__x86_64__)
  if (result == at::kBFloat16 && __builtin_cpu_supports("amx-bf16")) return false;
#endif
  return true;
}

// Where a matrix lies.
template <class T>
struct Operand {
  const T* values;
  int64_t stride;
  Along along;

  // The `count` rows (or columns) from n on, `steps` values of each from k on.
  GemmOperand<T> part(int64_t n, int64_t count, int64_t k, int64_t steps) const {
    return {.along = along,
            .count = count,
            .k = steps,
            .values = along == Along::rows ? values + n * stride + k : values + k * stride + n,
            .stride = stride};
  }
};

// Values of k at once: whole segments.
constexpr int64_t kDepth = 3 * kGemmSegment;
// The same for results in bfloat16, which are not to be rounded twice: as long as a panel of B
// still stays in the second cache beside a block of A.
constexpr int64_t kNarrowBytes = 6144;
template <class T>
int64_t narrow_depth() {
  return kNarrowBytes / kernels().gemm<T>().element;
}
constexpr int64_t kLeftBytes = 256 << 10;  // of a block of A: stays in the second cache
constexpr int64_t kRightBytes = 4 << 20;   // of B at once: stays in the third
constexpr int64_t kGroupPanels = 16;  // panels of B in a unit of work: the last ones end together

// C [m, n] (+)= A · B. To is float, or T where k is not cut.
template <class T, class To>
struct MatrixProduct {
  int64_t m, n, k;
  Operand<T> a, b;
  To* c;
  bool add;
};

int64_t quotient_up(int64_t x, int64_t y) { return (x + y - 1) / y; }
int64_t filled_up(int64_t x, int64_t multiple) { return quotient_up(x, multiple) * multiple; }

// How much of a product is packed at once.
struct GemmCut {
  int64_t depth;  // values of k
  int64_t block;  // rows of A, by each member
  int64_t width;  // columns of B, by all members together
};

template <class T, class To>
GemmCut cut_of(int64_t m, int64_t n, int64_t k) {
  const GemmKernels<T>& kernel = kernels().gemm<T>();
  const int64_t longest = sizeof(To) == sizeof(float) ? kDepth : narrow_depth<T>(),
                depth = std::min(filled_up(k, kernel.depth), longest),
                step = depth * kernel.element;
  // All members have as many blocks of A, as large as fit.
  const int64_t fitting = std::min(kGemmMostRows, kLeftBytes / step) / kernel.rows,
                share = quotient_up(quotient_up(m, kernel.rows), at::get_num_threads()),
                block = quotient_up(share, quotient_up(share, std::max<int64_t>(1, fitting)));
  const int64_t width = kRightBytes / step / kernel.columns * kernel.columns;
  return {.depth = depth,
          .block = block * kernel.rows,
          .width = std::min(filled_up(n, kernel.columns), std::max(width, kernel.columns))};
}

// A part of B: `columns` columns from `column`, `steps` values of k from `from`, to be packed.
struct RightPart {
  int64_t column, columns, panels;
  int64_t from, steps, packed;  // packed: the steps filled up
  std::byte* memory;            // of its panels, one after the other
};

template <class T>
void pack_right_part(const Operand<T>& b, const RightPart& r, const Team::Member& member) {
  const GemmKernels<T>& kernel = kernels().gemm<T>();
  member.deal(r.panels, [&](int64_t first, int64_t last) {
    const int64_t begin = first * kernel.columns,
                  count = std::min(r.columns, last * kernel.columns) - begin;
    kernel.pack_right(b.part(r.column + begin, count, r.from, r.steps), r.packed,
                      r.memory + begin * r.packed * kernel.element);
  });
}

// C of all rows and the columns of a part of B that is packed; `left`: room for a block of A.
template <class T, class To>
void multiply_right_part(const MatrixProduct<T, To>& product, const RightPart& r, int64_t block,
                         std::byte* left, const Team::Member& member) {
  const GemmKernels<T>& kernel = kernels().gemm<T>();
  const auto& [m, n, k, a, b, c, add] = product;
  const int64_t blocks = (m + block - 1) / block,
                groups = std::max<int64_t>(1, r.panels / kGroupPanels);
  int64_t held = -1;  // the row whose block `left` holds
  member.deal(blocks * groups, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = i / groups * block, rows = std::min(block, m - row), group = i % groups;
      if (row != held) kernel.pack_left(a.part(row, rows, r.from, r.steps), r.packed, left);
      held = row;
      for (int64_t p = r.panels * group / groups; p < r.panels * (group + 1) / groups; ++p) {
        const int64_t at = p * kernel.columns;
        const GemmPanels<To> panels = {.along = a.along,
                                       .rows = rows,
                                       .columns = std::min(kernel.columns, r.columns - at),
                                       .packed_k = r.packed,
                                       .left = left,
                                       .right = r.memory + at * r.packed * kernel.element,
                                       .c = c + row * n + r.column + at,
                                       .stride = n,
                                       .add = add || r.from > 0};
        if constexpr (sizeof(To) == sizeof(float)) {
          kernel.multiply_float(panels);
        } else {
          kernel.multiply_narrow(panels);
        }
      }
    }
  });
}

template <class T, class To>
void multiply(const MatrixProduct<T, To>& product) {
  const GemmKernels<T>& kernel = kernels().gemm<T>();
  const int64_t n = product.n, k = product.k;
  const GemmCut cut = cut_of<T, To>(product.m, n, k);
  const int64_t left_bytes = cut.block * cut.depth * kernel.element;
  const auto options = at::TensorOptions(at::kByte);
  const at::Tensor right = at::empty({cut.width * cut.depth * kernel.element}, options);
  const at::Tensor left = at::empty({at::get_num_threads() * left_bytes}, options);
  Team::run([&](const Team::Member& member) {
    for (int64_t column = 0; column < n; column += cut.width) {
      const int64_t columns = std::min(cut.width, n - column);
      for (int64_t from = 0; from < k; from += cut.depth) {
        const int64_t steps = std::min(cut.depth, k - from);
        const RightPart part = {.column = column,
                                .columns = columns,
                                .panels = (columns + kernel.columns - 1) / kernel.columns,
                                .from = from,
                                .steps = steps,
                                .packed = filled_up(steps, kernel.depth),
                                .memory = data<std::byte>(right)};
        pack_right_part(product.b, part, member);
        member.wait();
        multiply_right_part(product, part, cut.block,
                            data<std::byte>(left) + member.rank * left_bytes, member);
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
  if (c.scalar_type() == at::kFloat)
    return multiply<T, float>({m, n, k, a, b, data<float>(c), add});
  if (k <= narrow_depth<T>()) return multiply<T, T>({m, n, k, a, b, data<T>(c), add});
  at::Tensor wide = add ? c.to(at::kFloat) : at::empty(c.sizes(), c.options().dtype(at::kFloat));
  multiply<T, float>({m, n, k, a, b, data<float>(wide), add});
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

bool ours(const at::Tensor& a, const at::Tensor& b, at::ScalarType result) {
  return a.scalar_type() == b.scalar_type() && own_matmul(result);
}

}  // namespace

bool own_matmul(at::ScalarType result) {
  static const bool own[2] = {choose_own(at::kFloat), choose_own(at::kBFloat16)};
  return result == at::kFloat ? own[0] : result == at::kBFloat16 && own[1];
}

at::Tensor matmul_nt(const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b, a.scalar_type())) return aten::product_nt(a, b);
  at::Tensor c = at::empty({a.size(0), b.size(0)}, a.options());
  own_product(c, a, Along::rows, b, Along::rows, false);
  return c;
}

at::Tensor matmul_nn(const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b, a.scalar_type())) return aten::product_nn(a, b);
  at::Tensor c = at::empty({a.size(0), b.size(1)}, a.options());
  own_product(c, a, Along::rows, b, Along::columns, false);
  return c;
}

at::Tensor matmul_tn(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype) {
  if (!ours(a, b, dtype)) return aten::product_tn(a, b, dtype);
  at::Tensor c = at::empty({a.size(1), b.size(1)}, a.options().dtype(dtype));
  own_product(c, a, Along::columns, b, Along::columns, false);
  return c;
}

void add_matmul_nt(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b, sum.scalar_type())) {
    aten::add_product_nt(sum, a, b);
  } else {
    own_product(sum, a, Along::rows, b, Along::rows, true);
  }
}

void add_matmul_nn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b, sum.scalar_type())) {
    aten::add_product_nn(sum, a, b);
  } else {
    own_product(sum, a, Along::rows, b, Along::columns, true);
  }
}

void add_matmul_tn(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (!ours(a, b, sum.scalar_type())) {
    aten::add_product_tn(sum, a, b);
  } else {
    own_product(sum, a, Along::columns, b, Along::columns, true);
  }
}

}  // namespace continuo
