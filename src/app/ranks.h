// A command that runs as several processes: what its configuration says of them, and what they have
// to agree on before they begin.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "app/compute_config.h"
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
// The threads of one rank: its share of the cores that it may use.
int64_t share_of_cores(const RankPlacement& placement);

// Runs `body` in as many processes as the configuration or a launcher says: starts them, or is one
// of them. What a rank throws the others are told; ranks but the first log errors alone, and say
// who they are. `machine` becomes what is a rank's own: its share of the cores where threads are 0,
// and its GPU. → an exit code.
int run_ranks(const RanksConfig& config, DeviceConfig& machine,
              const std::function<int(Communicator&)>& body);

// Before ranks exchange tensors of `device`: by NCCL, where the configuration wants it. Error: it
// does, and this build or the ranks' GPUs do not allow it.
void connect_gpus(Communicator& ranks, c10::Device device, const CudaConfig& config);

// What `make` gives, made by the first rank before the others: what it leaves on disk they find.
template <class Make>
auto first_rank_first(Communicator& ranks, std::string_view what, Make make) {
  if (!ranks.is_first()) ranks.barrier(what);
  auto made = make();
  if (ranks.is_first()) ranks.barrier(what);
  return made;
}

// The items 0 … count-1 that are this rank's: every size-th.
std::vector<size_t> own_items(const Communicator& ranks, size_t count);
// What the ranks made of their items, in the order of the items. `what` of an error.
std::vector<std::string> in_order(Communicator& ranks, const std::vector<std::string>& own,
                                  size_t count, std::string_view what);

// Error: `directory`, the first rank's, is not one that all ranks see.
void check_shared(Communicator& ranks, const std::filesystem::path& directory);
// Error naming the rank whose `value` is not the first rank's; `what` says what it is of.
void check_equal(Communicator& ranks, std::string_view value, std::string_view what);

}  // namespace continuo
