// What happened to the rows of a source; shown by inspect and saved inside the cache.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace continuo {

struct StoreReport {
  int64_t rows = 0;      // read; rows = kept + the sum of `dropped`
  int64_t kept = 0;      // rows that gave examples
  int64_t examples = 0;  // more than `kept` where plain text was cut into pieces
  int64_t tokens = 0;
  int64_t trained = 0;                     // targets that count in the loss
  int64_t truncated = 0;                   // rows whose prompt lost its left
  int64_t revised = 0;                     // rows that earlier releases made other examples of
  std::map<std::string, int64_t> dropped;  // reason → rows

  StoreReport& operator+=(const StoreReport& other);
  friend bool operator==(const StoreReport&, const StoreReport&) = default;
};

std::string reports_to_json(const std::vector<StoreReport>& reports);
// Error: not what reports_to_json writes.
std::vector<StoreReport> reports_from_json(std::string_view text);

// "9876 rows, 12 dropped (10 overlong, 2 nothing trained)".
std::string summary(const StoreReport& report);

}  // namespace continuo
