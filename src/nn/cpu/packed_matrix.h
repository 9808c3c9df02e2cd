// Packs weights into the panels of kernels/packed.h and multiplies with them.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/cpu/kernels/packed.h"
#include "nn/weight_format.h"
#include "nn/weight_matrix.h"

namespace continuo {

inline constexpr int64_t kHalfPanel = kPanel / 2;  // of paired matrices, each's share

// Memory for all panels of a model, in the order of their use: 2 MiB pages where the system gives
// them.
class PanelArena {
 public:
  explicit PanelArena(int64_t bytes);
  std::byte* take(int64_t bytes);
  void give_back(int64_t bytes) { used_ -= bytes; }  // of the last taken
  void clear() { used_ = 0; }                        // what was taken is invalid

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  int64_t used_ = 0, size_ = 0;
};

// Names the panels that hold a format without compression.
constexpr PanelFormat plain_panels(WeightFormat format) {
  switch (format) {
    case WeightFormat::f32:
    case WeightFormat::blocks:
      return PanelFormat::f32;
    case WeightFormat::bf16:
      return PanelFormat::bf16;
    case WeightFormat::q8:
      return PanelFormat::q8;
    case WeightFormat::q4:
      return PanelFormat::q4;
  }
  return PanelFormat::f32;
}

std::string_view panel_name(PanelFormat format);  // for people

// Panels of one format, one behind the other in memory.
struct PanelRange {
  PanelFormat format;
  int64_t first, end;  // which panels of the matrix they are
  const std::byte* data;
};

// What is not kept as a file's blocks has one run.
struct PackedMatrix {
  int64_t in = 0, panels = 0;
  Activations reads = Activations::floats;  // its products, of all runs
  std::vector<PanelRange> runs = {};
  std::vector<Exception> exceptions = {};      // of compressed panels
  std::vector<int64_t> exceptions_begin = {};  // [panels + 1], where there are any

  int64_t stride_in() const { return packed_inputs(in); }  // of the activations
  int64_t stride_out() const { return panels * kPanel; }   // of the results
  // How much of the weights one product reads.
  int64_t bytes() const;
  PanelFormat format() const { return runs.front().format; }
  const PanelRange& run_of(int64_t panel) const;
  const std::byte* panel(int64_t index) const {
    const PanelRange& run = run_of(index);
    return run.data + (index - run.first) * panel_bytes(run.format, in);
  }
};

// Rows of a product's activations in the form that it reads.
struct PackedScratch {
  std::vector<uint16_t> halves;
  std::vector<int8_t> integers;
  std::vector<float> scales, totals;
  std::vector<int32_t> sums;

  void fit(Activations form, int64_t values);  // grows to room for this many
};

// A row of a matrix, in whatever floating type it lies; null where a panel has none.
struct SourceRow {
  const void* values = nullptr;
  at::ScalarType type = at::kFloat;
};

// What panels hold: the rows of matrices one under the other, or of two matrices [out, in] in
// pairs, so that every panel has 16 rows of the first, then the same 16 of the second.
class PanelRows {
 public:
  explicit PanelRows(std::vector<WeightMatrix> parts, bool paired = false);

  int64_t in() const { return parts_.front().in(); }
  int64_t panels() const;
  // kPanel rows of `in` values for each of the panels [begin, end); they stay until the next call.
  const std::vector<SourceRow>& read(int64_t begin, int64_t end);
  // The same of a file's blocks, null where a panel has none; panels within one of `stored_runs`.
  const std::vector<const uint8_t*>& read_blocks(int64_t begin, int64_t end);
  // The runs in which all rows can be kept as the blocks that they are in their files; empty where
  // they cannot.
  std::vector<PanelRange> stored_runs() const;

 private:
  // Calls take(part, first row, end, index of that row among those of the panels, stride) for what
  // the panels [begin, end) hold.
  template <class Take>
  void visit(int64_t begin, int64_t end, const Take& take) const;

  std::vector<WeightMatrix> parts_;
  bool paired_;
  std::vector<at::Tensor> kept_;
  std::vector<SourceRow> rows_;
  std::vector<const uint8_t*> block_rows_;
};

// Parallel, a few panels at a time: nothing else of the matrix's size is made. What is asked for as
// f32 or bf16 is stored shorter where that loses nothing, and f32 and `blocks` as the blocks that a
// file holds.
PackedMatrix pack(PanelArena& arena, WeightFormat format, PanelRows rows);
// How much of the arena that takes at most.
int64_t packed_bytes(WeightFormat format, const PanelRows& rows);

// a, b: [out] each, in the order of paired rows → [stride_out], ones beyond.
std::vector<float> paired_values(const at::Tensor& a, const at::Tensor& b);

// Rows [begin, end) of x [rows, stride_in], zeros beyond `in`, in the form that products with `w`
// read; `scratch` has room.
void prepare(const PackedMatrix& w, int64_t begin, int64_t end, const float* x,
             PackedScratch& scratch);
PackedInput prepared(const float* x, const PackedScratch& scratch);
// y[m, n] = x[m] · w[n] for the outputs of panels [begin, end); y: [rows, stride_out]. The bits of
// a row do not depend on `rows`.
void product(const PackedMatrix& w, int64_t rows, const PackedInput& x, int64_t begin, int64_t end,
             float* y);

// Which rows of the panels one of the matrices is that were packed together.
struct PackedPart {
  int64_t out;          // its rows
  int64_t first = 0;    // above it in the panels; of paired matrices 0
  bool paired = false;  // with another
  bool second = false;  // of the two

  // Its row that is row n of panel p; beyond `out`, or negative, where there is none.
  int64_t row(int64_t p, int64_t n) const {
    if (!paired) return p * kPanel + n - first;
    return n / kHalfPanel == (second ? 1 : 0) ? p * kHalfPanel + n % kHalfPanel : -1;
  }
  int64_t panel(int64_t row) const { return paired ? row / kHalfPanel : (first + row) / kPanel; }
};

// The weights as the products see them: a row of `in` floats, and rows [begin, end) of a part as
// [end − begin, in] float32.
void unpack_row(const PackedMatrix& w, int64_t row, float* values);
at::Tensor unpack(const PackedMatrix& w, const PackedPart& part, int64_t begin, int64_t end);
inline at::Tensor unpack(const PackedMatrix& w, int64_t rows) {
  return unpack(w, {.out = rows}, 0, rows);
}

}  // namespace continuo
