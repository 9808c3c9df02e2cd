// Puts items of known sizes into bins of a fixed capacity. Deterministic; an item larger than the
// capacity gets a bin of its own. Knows nothing about tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace continuo {

// First-fit decreasing: the largest first (equal sizes in their order), each into the first bin
// with room. At most 11/9 of the fewest bins possible, plus one (Dósa 2007). Returns the positions
// of the items in each bin.
std::vector<std::vector<int64_t>> pack_first_fit_decreasing(std::span<const int64_t> sizes,
                                                            int64_t capacity);

// Parts items among so many dealers' hands that the sums of their costs are close: the dearest
// first, each to the hand with the least so far, the first of equals. → items of each hand,
// ascending; some may be empty.
std::vector<std::vector<int64_t>> deal_by_cost(std::span<const double> costs, int64_t hands);

}  // namespace continuo
