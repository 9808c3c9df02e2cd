#include "core/suggest.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace continuo {
namespace {

std::string normal(std::string_view name) {
  std::string text;
  for (char c : name) {
    text += c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return text;
}

}  // namespace

size_t edit_distance(std::string_view first, std::string_view second) {
  std::string a = normal(first), b = normal(second);
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      size_t substitution = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, substitution});
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

std::optional<std::string> closest_name(std::string_view name,
                                        std::span<const std::string> candidates) {
  // A comparison of long junk is slow and finds nothing.
  if (name.empty() || name.size() > 100) return std::nullopt;
  std::optional<std::string> best;
  size_t allowed = std::max<size_t>(1, name.size() / 3);
  for (const std::string& candidate : candidates) {
    size_t distance = edit_distance(name, candidate);
    if (distance > allowed || (best && distance == allowed)) continue;
    best = candidate;
    allowed = distance;
  }
  return best;
}

std::string did_you_mean(std::string_view name, std::span<const std::string> candidates) {
  if (auto best = closest_name(name, candidates)) return fmt::format("did you mean {}?", *best);
  constexpr size_t kFew = 12;
  if (candidates.empty() || candidates.size() > kFew) return {};
  return fmt::format("known here: {}", fmt::join(candidates, ", "));
}

}  // namespace continuo
