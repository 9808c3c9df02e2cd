#include "app/ranks.h"

#include <algorithm>

#include <sched.h>
#include <unistd.h>

#include "comm/launch.h"
#include "core/files.h"
#include "core/log.h"

namespace continuo {

namespace fs = std::filesystem;

void fields(FieldVisitor& v, RanksConfig& c) {
  v.field("ranks", c.ranks,
          "Processes that share the work; started here, unless torchrun, mpirun or srun did. 0: as "
          "many as the launcher started.",
          Range::between(0, 4096));
  v.field("rank_timeout", c.rank_timeout, "Seconds that a rank waits for another.",
          Range::at_least(1));
}

RankPlacement placement_for(const RanksConfig& config) {
  RankPlacement placement = placement_from_environment();
  const bool launched = placement.launcher != Launcher::kNone;
  if (config.ranks > 0 && launched && placement.size != config.ranks) {
    throw Error(fmt::format("ranks={}, but {} started {}", config.ranks,
                            launcher_name(placement.launcher), placement.size),
                "Leave `ranks` out: the launcher knows.");
  }
  return placement;
}

int64_t share_of_cores(const RankPlacement& placement) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const bool known = sched_getaffinity(0, sizeof allowed, &allowed) == 0;
  const auto online = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
  const int64_t own = known ? CPU_COUNT(&allowed) : online;
  // mpirun and srun bind each rank to cores of its own; the other launchers' ranks share theirs.
  const bool bound = placement.launcher == Launcher::kOpenMpi ||
                     placement.launcher == Launcher::kMpich ||
                     placement.launcher == Launcher::kSlurm;
  const int64_t share = (bound ? online : own) / placement.local_size;
  return std::max<int64_t>(1, std::min(own, share));
}

namespace {

int run_as_rank(const RanksConfig& config, const RankPlacement& placement,
                const std::function<int(Communicator&)>& body) {
  if (placement.rank > 0) set_log_level(std::max(log_level(), LogLevel::kError));
  const auto ranks = open_communicator(placement, std::chrono::seconds(config.rank_timeout));
  try {
    return body(*ranks);
  } catch (const RankError&) {
    throw;
  } catch (const CommonError&) {
    if (placement.rank == 0) throw;
    return 1;
  } catch (const std::exception& error) {
    ranks->stop(error.what());
    if (placement.rank == 0) throw;
    throw Error(fmt::format("rank {}: {}", placement.rank, error.what()));
  }
}

}  // namespace

int run_ranks(const RanksConfig& config, DeviceConfig& machine,
              const std::function<int(Communicator&)>& body) {
  const RankPlacement placement = placement_for(config);
  if (config.ranks > 1 && placement.launcher == Launcher::kNone) return launch_ranks(config.ranks);
  if (!placement.alone()) {
    if (machine.threads == 0) machine.threads = share_of_cores(placement);
    machine.device = device_of_rank(machine.device, placement.local_rank);
  }
  return run_as_rank(config, placement, body);
}

void connect_gpus(Communicator& ranks, c10::Device device, const CudaConfig& config) {
  if (ranks.size() == 1 || !config.nccl || ranks.connect_gpus(device)) return;
  throw CommonError("cuda.nccl: not every rank has a GPU of its own, or this build has no NCCL",
                    "Start as many ranks as there are GPUs, or leave cuda.nccl at false.");
}

std::vector<size_t> own_items(const Communicator& ranks, size_t count) {
  std::vector<size_t> items;
  const auto size = static_cast<size_t>(ranks.size());
  for (auto i = static_cast<size_t>(ranks.rank()); i < count; i += size) items.push_back(i);
  return items;
}

std::vector<std::string> in_order(Communicator& ranks, const std::vector<std::string>& own,
                                  size_t count, std::string_view what) {
  if (ranks.size() == 1) return own;
  std::string packed;
  for (const std::string& text : own) packed += fmt::format("{}:{}", text.size(), text);
  const std::vector<std::string> all = ranks.gather_text(packed, what);
  std::vector<size_t> at(all.size());
  std::vector<std::string> texts;
  for (size_t i = 0; i < count; ++i) {
    const size_t rank = i % all.size();
    const size_t colon = all[rank].find(':', at[rank]);
    const size_t length = std::stoul(all[rank].substr(at[rank], colon - at[rank]));
    texts.push_back(all[rank].substr(colon + 1, length));
    at[rank] = colon + 1 + length;
  }
  return texts;
}

void check_shared(Communicator& ranks, const fs::path& directory) {
  if (ranks.size() == 1) return;
  const fs::path mark = directory / fmt::format(".ranks-{}", getpid());
  if (ranks.is_first()) atomic_write(mark, "seen by all ranks?\n");
  const std::string text = ranks.broadcast(mark.string(), "the run directory");
  const bool seen = fs::exists(text);
  const double value = seen ? 1 : 0;
  const std::vector<double> all = ranks.gather({&value, 1}, "the run directory");
  if (ranks.is_first()) fs::remove(mark);
  const auto blind = std::ranges::find(all, 0.0);
  if (blind == all.end()) return;
  throw CommonError(
      fmt::format("rank {} does not see {}, which rank 0 has made", blind - all.begin(),
                  directory.string()),
      "Every rank writes its part of a checkpoint: put run_dir on a file system that all "
      "machines share.");
}

void check_equal(Communicator& ranks, std::string_view value, std::string_view what) {
  const std::vector<std::string> all = ranks.gather_text(value, what);
  for (size_t r = 1; r < all.size(); ++r) {
    if (all[r] != all[0])
      throw CommonError(
          fmt::format("rank {} has {} other than rank 0's", r, what),
          "All ranks read the same configuration, data and model, in the same release.");
  }
}

}  // namespace continuo
