// exp over arrays, in double, several lanes at once: softmax over a vocabulary is most of what
// sampling costs.
#pragma once

#include <cstddef>
#include <span>

namespace continuo {

// x[i] = exp(x[i]) for x[i] ≤ 0, within 4e-16 relative; below −708 the result is below 1e-307.
void exp_nonpositive(std::span<double> x);

}  // namespace continuo
