#include "nn/cpu/packed_matrix.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <new>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <sys/mman.h>

#include "core/error.h"
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

PanelRows::PanelRows(std::vector<WeightMatrix> parts, bool paired)
    : parts_(std::move(parts)), paired_(paired) {
  TORCH_CHECK(!paired || (parts_.size() == 2 && parts_[0].out() == parts_[1].out()));
}

int64_t PanelRows::panels() const {
  int64_t rows = 0;
  for (const WeightMatrix& part : parts_) rows += part.out();
  // Of pairs the last half panels may both be short.
  return paired_ ? (rows / 2 + kHalfPanel - 1) / kHalfPanel : (rows + kPanel - 1) / kPanel;
}

void PanelRows::keep(const WeightMatrix& part, int64_t begin, int64_t end) {
  kept_.push_back(part.rows(begin, end).to(at::kFloat).contiguous());
}

const std::vector<const float*>& PanelRows::read(int64_t begin, int64_t end) {
  kept_.clear();  // what was read for the last call leaves memory first
  rows_.assign((end - begin) * kPanel, nullptr);
  if (paired_) {
    const int64_t first = begin * kHalfPanel, last = std::min(end * kHalfPanel, parts_[0].out());
    for (int64_t half = 0; half < 2; ++half) {
      keep(parts_[half], first, last);
      for (int64_t r = 0; r < last - first; ++r) {
        rows_[r / kHalfPanel * kPanel + half * kHalfPanel + r % kHalfPanel] =
            data<float>(kept_.back()) + r * in();
      }
    }
    return rows_;
  }
  int64_t above = 0;  // rows of the parts before this one
  for (const WeightMatrix& part : parts_) {
    const int64_t first = std::max(begin * kPanel, above),
                  last = std::min(end * kPanel, above + part.out());
    if (first < last) {
      keep(part, first - above, last - above);
      for (int64_t r = first; r < last; ++r)
        rows_[r - begin * kPanel] = data<float>(kept_.back()) + (r - first) * in();
    }
    above += part.out();
  }
  return rows_;
}

namespace {

bool all_bfloat16(int64_t in, const std::vector<const float*>& rows) {
  return std::ranges::all_of(rows, [&](const float* row) {
    return !row || std::all_of(row, row + in,
                               [](float x) { return (std::bit_cast<uint32_t>(x) & 0xffffu) == 0; });
  });
}

// Fills a matrix in one panel format, compressed or not.
class PanelWriter {
 public:
  PanelWriter(PanelFormat format, PanelRows& source, std::byte* data)
      : format_(format),
        source_(source),
        data_(data),
        bytes_(panel_bytes(format, source.in())),
        most_(8 + source.in() * kPanel / 200) {
    if (panel_header(format) > 0) found_.resize(source.panels());
  }

  // Whether every panel could hold its weights.
  bool write() {
    constexpr int64_t kBlock = 4 << 20;  // bytes of floats that are read at a time
    const int64_t in = source_.in(), panels = source_.panels(),
                  step = std::max<int64_t>(
                      kBlock / (in * kPanel * static_cast<int64_t>(sizeof(float))), 1);
    for (int64_t begin = 0; begin < panels && fits_; begin += step) {
      const int64_t end = std::min(begin + step, panels);
      const std::vector<const float*>& rows = source_.read(begin, end);
      if (format_ == PanelFormat::f32_in_12 && !all_bfloat16(in, rows)) return false;
      at::parallel_for(begin, end, 1, [&](int64_t first, int64_t last) {
        for (int64_t p = first; p < last; ++p) write_panel(p, rows.data() + (p - begin) * kPanel);
      });
    }
    return fits_;
  }

  PackedMatrix matrix() const {
    PackedMatrix w{
        .format = format_, .in = source_.in(), .panels = source_.panels(), .data = data_};
    if (found_.empty()) return w;
    for (const std::vector<Exception>& of_panel : found_) {
      w.exceptions_begin.push_back(std::ssize(w.exceptions));
      w.exceptions.insert(w.exceptions.end(), of_panel.begin(), of_panel.end());
    }
    w.exceptions_begin.push_back(std::ssize(w.exceptions));
    return w;
  }

 private:
  void write_panel(int64_t p, const float* const* rows) {
    std::byte* panel = data_ + p * bytes_;
    if (found_.empty()) return kernels().packed.pack(format_, source_.in(), rows, panel);
    std::vector<Exception> found(most_);
    const int64_t count =
        kernels().packed.compress(format_, source_.in(), rows, panel, found.data(), most_);
    if (count > most_) {
      fits_.store(false, std::memory_order_relaxed);
    } else {
      found_[p].assign(found.begin(), found.begin() + count);
    }
  }

  PanelFormat format_;
  PanelRows& source_;
  std::byte* data_;
  int64_t bytes_;
  int64_t most_;  // exceptions of a panel: more would cost what the shorter panel saves
  std::vector<std::vector<Exception>> found_;  // by panel; empty where the format has none
  std::atomic<bool> fits_{true};
};

// Shortest first, each without loss where it fits; the last always does.
std::vector<PanelFormat> candidates(WeightFormat format) {
  const PanelFormat plain = plain_panels(format);
  if (!kernels().packed.compresses || is_quantised(format)) return {plain};
  if (format == WeightFormat::bf16) return {PanelFormat::bf16_in_12, plain};
  return {PanelFormat::f32_in_12, PanelFormat::f32_in_28, plain};
}

float widened(uint16_t half) { return std::bit_cast<float>(static_cast<uint32_t>(half) << 16); }

at::Tensor as_floats(const at::Tensor& values) {
  return values.detach().to(at::kFloat).contiguous();
}

}  // namespace

PackedMatrix pack(PanelArena& arena, WeightFormat format, PanelRows rows) {
  for (const PanelFormat candidate : candidates(format)) {
    const int64_t bytes = rows.panels() * panel_bytes(candidate, rows.in());
    PanelWriter writer(candidate, rows, arena.take(bytes));
    if (writer.write()) return writer.matrix();
    arena.give_back(bytes);
  }
  fail("a matrix fits no panels");
}

std::vector<float> paired_values(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor first = as_floats(a), second = as_floats(b);
  std::vector<float> values((a.size(0) + kHalfPanel - 1) / kHalfPanel * kPanel, 1.0f);
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

void unpack_row(const PackedMatrix& w, int64_t row, float* values) {
  const int64_t p = row / kPanel;
  kernels().packed.unpack(w.format, w.in, w.data + p * panel_bytes(w.format, w.in), row % kPanel,
                          values);
  if (w.exceptions.empty()) return;
  for (int64_t i = w.exceptions_begin[p]; i < w.exceptions_begin[p + 1]; ++i) {
    const Exception& e = w.exceptions[i];
    if (p * kPanel + e.n == row) values[e.k] = e.value;
  }
}

at::Tensor unpack(const PackedMatrix& w, int64_t rows) {
  at::Tensor out = at::empty({rows, w.in}, at::TensorOptions(at::kFloat));
  at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) unpack_row(w, r, data<float>(out) + r * w.in);
  });
  return out;
}

}  // namespace continuo
