// Which tokens of a row hold a given mass, the best first, without sorting the row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace continuo {

// Indices, ascending, of the smallest set with Σ weight ≥ mass, taken in ascending order of `score`
// (finite; ties: the lower index first); at least `min_keep`, at least one; all where the mass is
// never reached. score, weight: the same length. O(n), then O(m log m) for the m tokens around the
// cut.
std::vector<uint32_t> mass_cut(std::span<const double> score, std::span<const double> weight,
                               double mass, size_t min_keep);

}  // namespace continuo
