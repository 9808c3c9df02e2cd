#include "nn/cpu/packed_matrix.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <new>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <sys/mman.h>

#include "nn/cpu/kernels/kernels.h"
#include "nn/cpu/kernels/span.h"

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

bool all_bfloat16(int64_t in, const std::vector<const float*>& rows) {
  return std::ranges::all_of(rows, [&](const float* row) {
    return !row || std::all_of(row, row + in,
                               [](float x) { return (std::bit_cast<uint32_t>(x) & 0xffffu) == 0; });
  });
}

// The matrix in a compressed format; no panels where one of them has too many weights that do not
// fit.
PackedMatrix compress_rows(PanelArena& arena, PanelFormat format, int64_t in,
                           const std::vector<const float*>& rows) {
  const int64_t panels = static_cast<int64_t>(rows.size()) / kPanel,
                bytes = panel_bytes(format, in);
  const int64_t most =
      8 + in * kPanel / 200;  // more of them would cost what the shorter panel saves
  std::byte* data = arena.take(panels * bytes);
  std::vector<std::vector<Exception>> found(panels);
  std::atomic<bool> fits{true};
  at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end && fits.load(std::memory_order_relaxed); ++p) {
      found[p].resize(most);
      const int64_t count = kernels().packed.compress(format, in, rows.data() + p * kPanel,
                                                      data + p * bytes, found[p].data(), most);
      if (count > most) fits.store(false, std::memory_order_relaxed);
      found[p].resize(std::min(count, most));
    }
  });
  if (!fits) {
    arena.give_back(panels * bytes);
    return {};
  }
  PackedMatrix w{.format = format, .in = in, .panels = panels, .data = data};
  for (const std::vector<Exception>& of_panel : found) {
    w.exceptions_begin.push_back(std::ssize(w.exceptions));
    w.exceptions.insert(w.exceptions.end(), of_panel.begin(), of_panel.end());
  }
  w.exceptions_begin.push_back(std::ssize(w.exceptions));
  return w;
}

// Names the shortest panels that hold float32 or bfloat16 weights without loss.
PanelFormat compressed_panels(WeightFormat format, int64_t in,
                              const std::vector<const float*>& rows) {
  if (format == WeightFormat::bf16) return PanelFormat::bf16_in_12;
  return all_bfloat16(in, rows) ? PanelFormat::f32_in_12 : PanelFormat::f32_in_28;
}

PackedMatrix pack_rows(PanelArena& arena, WeightFormat format, int64_t in,
                       const std::vector<const float*>& rows) {
  if (kernels().packed.compresses && !is_quantised(format)) {
    const PanelFormat shorter = compressed_panels(format, in, rows);
    if (PackedMatrix w = compress_rows(arena, shorter, in, rows); w.panels > 0) return w;
  }
  const PanelFormat plain = plain_panels(format);
  PackedMatrix w{.format = plain, .in = in, .panels = static_cast<int64_t>(rows.size()) / kPanel};
  std::byte* data = arena.take(w.bytes());
  w.data = data;
  at::parallel_for(0, w.panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      kernels().packed.pack(plain, in, rows.data() + p * kPanel, data + p * panel_bytes(plain, in));
    }
  });
  return w;
}

float widened(uint16_t half) { return std::bit_cast<float>(static_cast<uint32_t>(half) << 16); }

at::Tensor as_floats(const at::Tensor& weight) {
  return weight.detach().to(at::kFloat).contiguous();
}

}  // namespace

int64_t concatenated_panels(const std::vector<at::Tensor>& parts) {
  int64_t rows = 0;
  for (const at::Tensor& part : parts) rows += part.size(0);
  return (rows + kPanel - 1) / kPanel;
}

PackedMatrix pack_concatenated(PanelArena& arena, WeightFormat format,
                               const std::vector<at::Tensor>& parts) {
  std::vector<at::Tensor> floats;
  std::vector<const float*> rows;
  for (const at::Tensor& part : parts) {
    floats.push_back(as_floats(part));
    for (int64_t r = 0; r < part.size(0); ++r)
      rows.push_back(data<float>(floats.back()) + r * part.size(1));
  }
  rows.resize(concatenated_panels(parts) * kPanel, nullptr);
  return pack_rows(arena, format, parts.front().size(1), rows);
}

int64_t paired_panels(const at::Tensor& a) { return (a.size(0) + kHalfPanel - 1) / kHalfPanel; }

PackedMatrix pack_paired(PanelArena& arena, WeightFormat format, const at::Tensor& a,
                         const at::Tensor& b) {
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

std::vector<float> paired_values(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor first = as_floats(a), second = as_floats(b);
  std::vector<float> values(paired_panels(a) * kPanel, 1.0f);
  for (int64_t r = 0; r < a.size(0); ++r) {
    const int64_t at = r / kHalfPanel * kPanel + r % kHalfPanel;
    values[at] = data<float>(first)[r];
    values[at + kHalfPanel] = data<float>(second)[r];
  }
  return values;
}

void PackedScratch::fit(PanelFormat format, int64_t values) {
  const auto grow = [](auto& v, int64_t size) {
    if (std::ssize(v) < size) v.resize(size);
  };
  if (reads_halves(format)) grow(halves, values);
  if (!reads_integers(format)) return;
  grow(integers, values);
  grow(scales, values / kQuantBlock);
  grow(offsets, values / kQuantBlock);
}

void prepare(const PackedMatrix& w, int64_t begin, int64_t end, const float* x, PackedScratch& s) {
  const int64_t first = begin * w.stride_in(), n = (end - begin) * w.stride_in(),
                block = first / kQuantBlock;
  if (reads_halves(w.format)) kernels().packed.round(n, x + first, s.halves.data() + first);
  if (reads_integers(w.format)) {
    kernels().packed.quantise(n, x + first, s.integers.data() + first, s.scales.data() + block,
                              s.offsets.data() + block);
  }
}

PackedInput prepared(const PackedMatrix&, const float* x, const PackedScratch& s) {
  return {x, s.halves.data(), s.integers.data(), s.scales.data(), s.offsets.data()};
}

void product(const PackedMatrix& w, int64_t rows, const PackedInput& x, int64_t begin, int64_t end,
             float* y) {
  kernels().packed.product({.format = w.format,
                            .rows = rows,
                            .in = w.in,
                            .x = x,
                            .data = w.data,
                            .y = y,
                            .stride_y = w.stride_out()},
                           begin, end);
  if (w.exceptions.empty()) return;
  for (int64_t p = begin; p < end; ++p) {
    for (int64_t i = w.exceptions_begin[p]; i < w.exceptions_begin[p + 1]; ++i) {
      const Exception& e = w.exceptions[i];
      float* to = y + p * kPanel + e.n;
      for (int64_t m = 0; m < rows; ++m) {
        const int64_t at = m * w.stride_in() + e.k;
        to[m * w.stride_out()] +=
            e.value * (reads_halves(w.format) ? widened(x.halves[at]) : x.values[at]);
      }
    }
  }
}

at::Tensor unpack(const PackedMatrix& w, int64_t rows) {
  at::Tensor out = at::empty({rows, w.in}, at::TensorOptions(at::kFloat));
  at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      kernels().packed.unpack(w.format, w.in, w.data + r / kPanel * panel_bytes(w.format, w.in),
                              r % kPanel, data<float>(out) + r * w.in);
    }
  });
  for (int64_t p = 0; p < w.panels && !w.exceptions.empty(); ++p) {
    for (int64_t i = w.exceptions_begin[p]; i < w.exceptions_begin[p + 1]; ++i) {
      const Exception& e = w.exceptions[i];
      if (p * kPanel + e.n < rows) data<float>(out)[(p * kPanel + e.n) * w.in + e.k] = e.value;
    }
  }
  return out;
}

}  // namespace continuo
