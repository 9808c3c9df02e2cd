// Where the promise of decoding ends: a completion does not depend on what else is in its batch.
// Known to every part that must keep it and to whoever composes passes; knows no tensor.
#pragma once

#include <cstdint>

namespace continuo {

// On the CPU and without gradients, each row of a pass with at most so many rows has the bits that
// it has alone: they go through kernels that take a row at a time (Linear, attention, activations)
// or through the decode engine. Passes with more rows are prefills, in which the products of many
// rows are faster and round as their tiles fall. 8- and 4-bit weights know no such limit.
inline constexpr int64_t kInvariantRows = 64;

}  // namespace continuo
