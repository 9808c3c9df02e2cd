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

namespace {

// Panels of a file's blocks stand in the order of the blocks.
constexpr int kFirstStored = static_cast<int>(PanelFormat::stored_q4_0);

constexpr PanelFormat panels_of(BlockFormat format) {
  return static_cast<PanelFormat>(kFirstStored + static_cast<int>(format));
}
static_assert(panels_of(BlockFormat::q8_0) == PanelFormat::stored_q8_0);
static_assert(panels_of(BlockFormat::q6_k) == PanelFormat::stored_q6_k);

}  // namespace

std::string_view panel_name(PanelFormat format) {
  switch (format) {
    case PanelFormat::f32:
      return "fp32";
    case PanelFormat::bf16:
      return "bf16";
    case PanelFormat::q8:
      return "q8";
    case PanelFormat::q4:
      return "q4";
    case PanelFormat::f32_in_28:
      return "fp32 in 28 bits";
    case PanelFormat::f32_in_12:
      return "fp32 in 12 bits";
    case PanelFormat::bf16_in_12:
      return "bf16 in 12 bits";
    default:
      return name(static_cast<BlockFormat>(static_cast<int>(format) - kFirstStored));
  }
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

template <class Take>
void PanelRows::visit(int64_t begin, int64_t end, const Take& take) const {
  if (paired_) {
    const int64_t first = begin * kHalfPanel, last = std::min(end * kHalfPanel, parts_[0].out());
    for (int64_t half = 0; half < 2; ++half) {
      take(parts_[half], first, last, [half](int64_t r) {
        return r / kHalfPanel * kPanel + half * kHalfPanel + r % kHalfPanel;
      });
    }
    return;
  }
  int64_t above = 0;  // rows of the parts before this one
  for (const WeightMatrix& part : parts_) {
    const int64_t first = std::max(begin * kPanel, above),
                  last = std::min(end * kPanel, above + part.out());
    const int64_t place = first - begin * kPanel;
    if (first < last)
      take(part, first - above, last - above, [place](int64_t r) { return place + r; });
    above += part.out();
  }
}

const std::vector<SourceRow>& PanelRows::read(int64_t begin, int64_t end) {
  kept_.clear();  // what was read for the last call leaves memory first
  rows_.assign((end - begin) * kPanel, {});
  visit(begin, end, [&](const WeightMatrix& part, int64_t first, int64_t last, auto place) {
    at::Tensor values = part.rows(first, last).contiguous();
    const bool known = values.scalar_type() == at::kFloat || values.scalar_type() == at::kBFloat16;
    const at::Tensor& kept = kept_.emplace_back(known ? values : values.to(at::kFloat));
    const auto* bytes = static_cast<const std::byte*>(kept.const_data_ptr());
    const auto stride = in() * static_cast<int64_t>(kept.element_size());
    for (int64_t r = 0; r < last - first; ++r)
      rows_[place(r)] = {bytes + r * stride, kept.scalar_type()};
  });
  return rows_;
}

const std::vector<const uint8_t*>& PanelRows::read_blocks(int64_t begin, int64_t end) {
  kept_.clear();
  block_rows_.assign((end - begin) * kPanel, nullptr);
  visit(begin, end, [&](const WeightMatrix& part, int64_t first, int64_t last, auto place) {
    const at::Tensor& blocks = kept_.emplace_back(part.blocks()->rows(first, last).contiguous());
    for (int64_t r = 0; r < last - first; ++r)
      block_rows_[place(r)] = data<uint8_t>(blocks) + r * blocks.size(1);
  });
  return block_rows_;
}

std::vector<PanelRange> PanelRows::stored_runs() const {
  std::vector<PanelRange> runs;
  int64_t above = 0;
  for (const WeightMatrix& part : parts_) {
    if (!part.blocks()) return {};
    const PanelFormat format = panels_of(part.blocks()->format);
    const bool same = !runs.empty() && runs.back().format == format;
    // A panel holds one format.
    if (!same && (above % kPanel != 0 || (paired_ && !runs.empty()))) return {};
    if (!same) runs.push_back({format, above / kPanel, 0, nullptr});
    above += part.out();
    runs.back().end = paired_ ? panels() : (above + kPanel - 1) / kPanel;
  }
  return runs;
}

namespace {

float widened(uint16_t half) { return std::bit_cast<float>(static_cast<uint32_t>(half) << 16); }

// The rows of a panel as floats: where they lie, or widened into memory that serves the next panel
// as well. Whoever packs a panel does that for itself, a panel at a time: all rows that are read at
// once would be new memory in float32.
class FloatRows {
 public:
  const float* const* of(const SourceRow* rows, int64_t in) {
    for (int64_t r = 0; r < kPanel; ++r) {
      rows_[r] = static_cast<const float*>(rows[r].values);
      if (!rows[r].values || rows[r].type == at::kFloat) continue;
      room_.resize(static_cast<size_t>(kPanel * in));
      float* to = room_.data() + r * in;
      const auto* halves = static_cast<const uint16_t*>(rows[r].values);
      for (int64_t k = 0; k < in; ++k) to[k] = widened(halves[k]);
      rows_[r] = to;
    }
    return rows_;
  }

 private:
  std::vector<float> room_;
  const float* rows_[kPanel] = {};
};

// Of the rows of a panel.
bool all_bfloat16(int64_t in, const float* const* rows) {
  return std::all_of(rows, rows + kPanel, [in](const float* row) {
    uint32_t lower = 0;
    for (int64_t k = 0; row && k < in; ++k) lower |= std::bit_cast<uint32_t>(row[k]) & 0xffffu;
    return lower == 0;
  });
}

// Panels whose rows are read at a time.
int64_t panels_at_once(int64_t in) {
  constexpr int64_t kFloats = 1 << 20;
  return std::max<int64_t>(kFloats / (in * kPanel), 1);
}

PackedMatrix lay_blocks(PanelArena& arena, const std::vector<PanelRange>& runs, PanelRows& rows) {
  PackedMatrix w{.in = rows.in(), .panels = rows.panels()};
  for (const auto& [format, first, end, nowhere] : runs) {
    const int64_t bytes = panel_bytes(format, w.in);
    std::byte* data = arena.take((end - first) * bytes);
    w.runs.push_back({format, first, end, data});
    for (int64_t begin = first; begin < end; begin += panels_at_once(w.in)) {
      const int64_t last = std::min(begin + panels_at_once(w.in), end);
      const std::vector<const uint8_t*>& blocks = rows.read_blocks(begin, last);
      at::parallel_for(begin, last, 1, [&](int64_t p, int64_t behind) {
        for (; p < behind; ++p) {
          kernels().packed.lay(format, w.in, blocks.data() + (p - begin) * kPanel,
                               data + (p - first) * bytes);
        }
      });
    }
  }
  return w;
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
    const int64_t in = source_.in(), panels = source_.panels(), step = panels_at_once(in);
    for (int64_t begin = 0; begin < panels && fits_; begin += step) {
      const int64_t end = std::min(begin + step, panels);
      const std::vector<SourceRow>& rows = source_.read(begin, end);
      at::parallel_for(begin, end, 1, [&](int64_t first, int64_t last) {
        FloatRows& floats = floats_[static_cast<size_t>(at::get_thread_num())];
        for (int64_t p = first; p < last; ++p)
          write_panel(p, floats.of(rows.data() + (p - begin) * kPanel, in));
      });
    }
    return fits_;
  }

  PackedMatrix matrix() const {
    PackedMatrix w{
        .in = source_.in(), .panels = source_.panels(), .reads = activations_of(format_)};
    w.runs = {{format_, 0, w.panels, data_}};
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
    if (format_ == PanelFormat::f32_in_12 && !all_bfloat16(source_.in(), rows)) {
      fits_.store(false, std::memory_order_relaxed);
      return;
    }
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
  std::vector<FloatRows> floats_{static_cast<size_t>(at::get_num_threads())};  // by thread
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

at::Tensor as_floats(const at::Tensor& values) {
  return values.detach().to(at::kFloat).contiguous();
}

}  // namespace

int64_t PackedMatrix::bytes() const {
  auto bytes = static_cast<int64_t>(exceptions.size() * sizeof(Exception));
  for (const PanelRange& run : runs) bytes += (run.end - run.first) * panel_bytes(run.format, in);
  return bytes;
}

const PanelRange& PackedMatrix::run_of(int64_t panel) const {
  size_t run = 0;
  while (run + 1 < runs.size() && panel >= runs[run].end) ++run;
  return runs[run];
}

int64_t packed_bytes(WeightFormat format, const PanelRows& rows) {
  const std::vector<PanelRange> runs =
      is_float32(format) ? rows.stored_runs() : std::vector<PanelRange>();
  if (runs.empty()) return rows.panels() * panel_bytes(plain_panels(format), rows.in());
  int64_t bytes = 0;
  for (const PanelRange& run : runs)
    bytes += (run.end - run.first) * panel_bytes(run.format, rows.in());
  return bytes;
}

PackedMatrix pack(PanelArena& arena, WeightFormat format, PanelRows rows) {
  if (is_float32(format)) {
    const std::vector<PanelRange> runs = rows.stored_runs();
    if (!runs.empty()) {
      PackedMatrix w = lay_blocks(arena, runs, rows);
      if (format == WeightFormat::blocks) w.reads = Activations::integers;
      return w;
    }
  }
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

void PackedScratch::fit(Activations form, int64_t values) {
  const auto grow = [](auto& v, int64_t size) {
    if (std::ssize(v) < size) v.resize(size);
  };
  if (form == Activations::halves) grow(halves, values);
  if (form != Activations::integers) return;
  grow(integers, values);
  grow(scales, values / kQuantBlock);
  grow(totals, values / kQuantBlock);
  grow(sums, values / kQuantGroup);
}

void prepare(const PackedMatrix& w, int64_t begin, int64_t end, const float* x, PackedScratch& s) {
  const int64_t first = begin * w.stride_in(), n = (end - begin) * w.stride_in(),
                block = first / kQuantBlock;
  if (w.reads == Activations::halves) {
    kernels().packed.round(n, x + first, s.halves.data() + first);
  } else if (w.reads == Activations::integers) {
    kernels().packed.quantise(n, x + first,
                              {s.integers.data() + first, s.scales.data() + block,
                               s.sums.data() + first / kQuantGroup, s.totals.data() + block});
  }
}

PackedInput prepared(const float* x, const PackedScratch& s) {
  return {x, s.halves.data(), s.integers.data(), s.scales.data(), s.sums.data(), s.totals.data()};
}

void product(const PackedMatrix& w, int64_t rows, const PackedInput& x, int64_t begin, int64_t end,
             float* y) {
  for (const PanelRange& run : w.runs) {
    const int64_t first = std::max(begin, run.first), last = std::min(end, run.end);
    if (first >= last) continue;
    kernels().packed.product({.format = run.format,
                              .reads = w.reads,
                              .rows = rows,
                              .in = w.in,
                              .x = x,
                              .data = run.data,
                              .y = y + run.first * kPanel,
                              .stride_y = w.stride_out()},
                             first - run.first, last - run.first);
  }
  if (w.exceptions.empty()) return;
  for (int64_t p = begin; p < end; ++p) {
    for (int64_t i = w.exceptions_begin[p]; i < w.exceptions_begin[p + 1]; ++i) {
      const Exception& e = w.exceptions[i];
      float* to = y + p * kPanel + e.n;
      for (int64_t m = 0; m < rows; ++m) {
        const int64_t at = m * w.stride_in() + e.k;
        to[m * w.stride_out()] +=
            e.value * (w.reads == Activations::halves ? widened(x.halves[at]) : x.values[at]);
      }
    }
  }
}

void unpack_row(const PackedMatrix& w, int64_t row, float* values) {
  const int64_t p = row / kPanel;
  kernels().packed.unpack(w.run_of(p).format, w.in, w.panel(p), row % kPanel, values);
  if (w.exceptions.empty()) return;
  for (int64_t i = w.exceptions_begin[p]; i < w.exceptions_begin[p + 1]; ++i) {
    const Exception& e = w.exceptions[i];
    if (p * kPanel + e.n == row) values[e.k] = e.value;
  }
}

at::Tensor unpack(const PackedMatrix& w, const PackedPart& part, int64_t begin, int64_t end) {
  at::Tensor out = at::empty({end - begin, w.in}, at::TensorOptions(at::kFloat));
  if (begin == end) return out;
  const auto unpack_panel = [&](int64_t p) {
    float* rows[kPanel];
    for (int64_t n = 0; n < kPanel; ++n) {
      const int64_t r = part.row(p, n);
      rows[n] = r >= begin && r < end ? data<float>(out) + (r - begin) * w.in : nullptr;
    }
    kernels().packed.unpack_panel(w.run_of(p).format, w.in, w.panel(p), rows);
    if (w.exceptions.empty()) return;
    for (int64_t i = w.exceptions_begin[p]; i < w.exceptions_begin[p + 1]; ++i) {
      const Exception& e = w.exceptions[i];
      if (rows[e.n]) rows[e.n][e.k] = e.value;
    }
  };
  at::parallel_for(part.panel(begin), part.panel(end - 1) + 1, 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) unpack_panel(p);
  });
  return out;
}

}  // namespace continuo
