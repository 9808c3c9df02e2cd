// "Did you mean …?" for names that were not found.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace continuo {

// Edit distance with transpositions (optimal string alignment); letter case and '-' against '_' are
// free.
size_t edit_distance(std::string_view a, std::string_view b);

// The candidate closest to `name` when it is close enough to be a slip; the first of equals.
std::optional<std::string> closest_name(std::string_view name,
                                        std::span<const std::string> candidates);

// "did you mean lr?", or all candidates when they are few, or empty: ready to be a hint.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

}  // namespace continuo
