#include "nn/packed_matrix.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "nn/kernels/kernels.h"
#include "nn/kernels/span.h"

namespace continuo {

PanelArena::PanelArena(int64_t bytes) {
  constexpr int64_t kPage = 2 << 20;
  size_ = (bytes + kPage - 1) / kPage * kPage;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kPage, static_cast<size_t>(size_))));
  if (!memory_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  ::madvise(memory_.get(), static_cast<size_t>(size_), MADV_HUGEPAGE);
#endif
}

void PanelArena::Free::operator()(std::byte* p) const { std::free(p); }

std::byte* PanelArena::take(int64_t bytes) {
  TORCH_CHECK(used_ + bytes <= size_, "the panels' memory is too small");
  std::byte* p = memory_.get() + used_;
  used_ += bytes;
  return p;
}

namespace {

PackedMatrix pack_rows(PanelArena& arena, WeightFormat format, int64_t in, const std::vector<const float*>& rows) {
  PackedMatrix w{.format = format, .in = in, .panels = static_cast<int64_t>(rows.size()) / kPanel};
  std::byte* data = arena.take(w.bytes());
  w.data = data;
  at::parallel_for(0, w.panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      kernels().packed.pack(format, in, rows.data() + p * kPanel, data + p * panel_bytes(format, in));
    }
  });
  return w;
}

at::Tensor as_floats(const at::Tensor& weight) { return weight.detach().to(at::kFloat).contiguous(); }

constexpr int64_t kHalfPanel = kPanel / 2;

}  // namespace

int64_t concatenated_panels(const std::vector<at::Tensor>& parts) {
  int64_t rows = 0;
  for (const at::Tensor& part : parts) rows += part.size(0);
  return (rows + kPanel - 1) / kPanel;
}

PackedMatrix pack_concatenated(PanelArena& arena, WeightFormat format, const std::vector<at::Tensor>& parts) {
  std::vector<at::Tensor> floats;
  std::vector<const float*> rows;
  for (const at::Tensor& part : parts) {
    floats.push_back(as_floats(part));
    for (int64_t r = 0; r < part.size(0); ++r) rows.push_back(data<float>(floats.back()) + r * part.size(1));
  }
  rows.resize(concatenated_panels(parts) * kPanel, nullptr);
  return pack_rows(arena, format, parts.front().size(1), rows);
}

int64_t paired_panels(const at::Tensor& a) { return (a.size(0) + kHalfPanel - 1) / kHalfPanel; }

PackedMatrix pack_paired(PanelArena& arena, WeightFormat format, const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor first = as_floats(a), second = as_floats(b);
  const int64_t in = a.size(1);
  std::vector<const float*> rows(paired_panels(a) * kPanel, nullptr);
  for (int64_t r = 0; r < a.size(0); ++r) {
    const int64_t at = r / kHalfPanel * kPanel + r % kHalfPanel;
    rows[at] = data<float>(first) + r * in;
    rows[at + kHalfPanel] = data<float>(second) + r * in;
  }
  return pack_rows(arena, format, in, rows);
}

PackedInput prepare(const PackedMatrix& w, int64_t rows, const float* x, PackedScratch& s) {
  const PackedKernels& k = kernels().packed;
  const int64_t n = rows * w.stride_in();
  PackedInput input;
  switch (w.format) {
    case WeightFormat::f32:
      input.values = x;
      break;
    case WeightFormat::bf16:
      s.halves.resize(n);
      k.round(n, x, s.halves.data());
      input.halves = s.halves.data();
      break;
    case WeightFormat::q8:
    case WeightFormat::q4:
      s.integers.resize(n);
      s.scales.resize(n / kQuantBlock);
      s.offsets.resize(n / kQuantBlock);
      k.quantise(n, x, s.integers.data(), s.scales.data(), s.offsets.data());
      input = {.integers = s.integers.data(), .scales = s.scales.data(), .offsets = s.offsets.data()};
      break;
  }
  return input;
}

void product(const PackedMatrix& w, int64_t rows, const PackedInput& x, int64_t begin, int64_t end, float* y) {
  kernels().packed.product(w.format, rows, w.in, begin, end, x, w.data, y, w.stride_out());
}

at::Tensor unpack(const PackedMatrix& w, int64_t rows) {
  at::Tensor out = at::empty({rows, w.in}, at::TensorOptions(at::kFloat));
  at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      kernels().packed.unpack(w.format, w.in, w.data + r / kPanel * panel_bytes(w.format, w.in), r % kPanel,
                              data<float>(out) + r * w.in);
    }
  });
  return out;
}

}  // namespace continuo
