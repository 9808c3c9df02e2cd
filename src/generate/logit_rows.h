// The logits of a pass, wherever they are. On the CPU rows are read where they lie; of rows on a
// device the most probable tokens come over at once, and a whole row only where these do not decide
// what is drawn (sampling/partial_row.h).
#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "generate/sampling/sample_row.h"

namespace continuo {

class LogitRows {
 public:
  LogitRows() = default;
  // logits: [rows, vocabulary or more], of a pass; undefined = none.
  LogitRows(at::Tensor logits, int64_t vocabulary);

  bool defined() const { return fetched_ != nullptr; }
  // The rows from number `first` on.
  LogitRows from(int64_t first) const;
  // Valid as long as these rows; several threads may read different ones.
  LogitRow row(int64_t index) const;

 private:
  struct Fetched;
  std::shared_ptr<Fetched> fetched_;
  int64_t first_ = 0;
};

}  // namespace continuo
