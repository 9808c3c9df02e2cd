// A command that runs as several processes: what its configuration says of them, and what they have
// to agree on before they begin.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>

#include "comm/communicator.h"
#include "core/config/config.h"

namespace continuo {

struct RanksConfig {
  int64_t ranks = 0;
  int64_t rank_timeout = 1800;  // seconds
};
void fields(FieldVisitor& v, RanksConfig& c);

// Which rank this process is. Error: a launcher's number of ranks that is not the configuration's.
RankPlacement placement_for(const RanksConfig& config);
// Whether the ranks that the configuration asks for are still to be started.
bool wants_launch(const RanksConfig& config, const RankPlacement& placement);

// Runs `body` as one of the ranks; what it throws the others are told. Ranks but the first log
// errors alone, and say who they are.
int run_as_rank(const RanksConfig& config, const RankPlacement& placement,
                const std::function<int(Communicator&)>& body);

// The threads of one rank: its share of the cores that it may use.
int64_t share_of_cores(const RankPlacement& placement);

// What `make` gives, made by the first rank before the others: what it leaves on disk they find.
template <class Make>
auto first_rank_first(Communicator& ranks, std::string_view what, Make make) {
  if (!ranks.is_first()) ranks.barrier(what);
  auto made = make();
  if (ranks.is_first()) ranks.barrier(what);
  return made;
}

// Error: `directory`, the first rank's, is not one that all ranks see.
void check_shared(Communicator& ranks, const std::filesystem::path& directory);
// Error naming the rank whose `value` is not the first rank's; `what` says what it is of.
void check_equal(Communicator& ranks, std::string_view value, std::string_view what);

}  // namespace continuo
