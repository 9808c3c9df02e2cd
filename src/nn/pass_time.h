// How the time of a forward pass grows with its rows.
#pragma once

#include <algorithm>
#include <cstdint>

namespace continuo {

// Time of a pass over n rows as a share of one over a single row: the weights are read once,
// arithmetic grows with n.
struct PassTime {
  double extra = 0;       // of a further row while reading the weights takes longest
  double arithmetic = 0;  // of a row where arithmetic does

  double operator()(int64_t rows) const {
    const auto n = static_cast<double>(rows);
    return std::max(1 + extra * (n - 1), arithmetic * n);
  }
};

}  // namespace continuo
