// Faults found while loading, as one Error.
#include <algorithm>
#include <tuple>

#include "core/config/config.h"

namespace continuo {

void Problems::add(const Location& where, const std::string& message, const std::string& hint) {
  entries_.push_back({where, message, hint});
}

void Problems::raise() const {
  if (entries_.empty()) return;
  if (entries_.size() == 1) throw Error(entries_[0].where, entries_[0].message, entries_[0].hint);
  // Files in the order in which they turned up, lines in theirs.
  std::vector<std::string> files;
  for (const Entry& entry : entries_) {
    if (std::find(files.begin(), files.end(), entry.where.file) == files.end())
      files.push_back(entry.where.file);
  }
  auto rank = [&](const Entry& entry) {
    return std::tuple(std::find(files.begin(), files.end(), entry.where.file), entry.where.line,
                      entry.where.column);
  };
  std::vector<Entry> sorted = entries_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](const Entry& a, const Entry& b) { return rank(a) < rank(b); });
  std::string text = fmt::format("{} faults", sorted.size());
  for (const Entry& entry : sorted)
    text += fmt::format("\n{}", Error(entry.where, entry.message, entry.hint).what());
  throw Error(text);
}

}  // namespace continuo
