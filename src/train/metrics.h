// metrics.jsonl: one JSON object per line, handed to the system as soon as it is written. After a
// resume no step is there twice and none is lost. Knows nothing about what is measured.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/files.h"

namespace continuo {

using MetricValue = std::variant<double, int64_t, bool, std::string>;
using Metrics = std::vector<std::pair<std::string, MetricValue>>;

class MetricsLog {
 public:
  // Without `resume_at` starts an empty file in place of an older one. With it keeps the lines
  // whose step is below `resume_at` and removes the rest, a torn last line included, in one atomic
  // replacement; lines that are no JSON object with an integer "step" are removed with a warning.
  explicit MetricsLog(std::filesystem::path path, std::optional<int64_t> resume_at = {});

  // {"step":7,"loss":2.5,…} in the given order. Doubles print the shortest digits that read back to
  // the same double; JSON has no word for the others, they become "NaN", "Infinity" and
  // "-Infinity". One write per line: a killed process tears at most the last line. Error: full
  // disk.
  void write(int64_t step, const Metrics& metrics);

  // Makes everything written so far survive a power failure; call it before a checkpoint.
  void sync();

 private:
  std::filesystem::path path_;
  FileDescriptor fd_;
};

// The line without its newline.
std::string metrics_line(int64_t step, const Metrics& metrics);

}  // namespace continuo
