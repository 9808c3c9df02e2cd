// How rotary frequencies are stretched to longer contexts. Knows no tensor.
#pragma once

#include <cstdint>
#include <vector>

namespace continuo {

enum class RopeKind { plain, linear, dynamic, yarn, longrope, llama3 };

// How the frequencies are stretched; a kind reads the fields named beside it.
struct RopeScaling {
  RopeKind kind = RopeKind::plain;
  double factor = 1;             // linear, dynamic (NTK), yarn, llama3: longer by this much
  int64_t original_context = 0;  // of pretraining: dynamic, yarn, longrope, llama3
  double attention_factor = 1;   // yarn, longrope: multiplies cosines and sines
  // llama3: wavelengths above original_context / low_frequency are stretched, those below
  // original_context / high_frequency are not.
  double low_frequency = 1;
  double high_frequency = 4;
  // yarn (arXiv 2309.00071): rotations over the original context above which a dimension is kept
  // and below which it is stretched.
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;  // yarn: round those bounds to whole dimensions
  // longrope (arXiv 2402.13753): a divisor per pair of dimensions.
  std::vector<double> short_factors = {};
  std::vector<double> long_factors = {};

  bool operator==(const RopeScaling&) const = default;
};

}  // namespace continuo
