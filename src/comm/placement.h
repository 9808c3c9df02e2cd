// Which of how many processes this one is, and where they meet: read from the variables that a
// launcher sets. Knows no collectives.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace continuo {

enum class Launcher { kNone, kOwn, kTorchrun, kVariables, kOpenMpi, kMpich, kSlurm };

struct RankPlacement {
  Launcher launcher = Launcher::kNone;
  int64_t rank = 0, size = 1;              // of all processes
  int64_t local_rank = 0, local_size = 1;  // of those on this machine
  std::string host = "127.0.0.1";          // of the store where they meet
  int64_t port = 0;
  // The launcher holds the store, and every rank is its client; else the first rank holds it.
  bool store_is_launchers = false;
  int store_socket = -1;      // of the first rank: a listening socket that it was handed
  std::string attempt = "0";  // of launchers that start failed processes again

  bool alone() const { return size == 1; }
};

// A variable's value; nothing where it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// Understands torchrun (and whatever sets RANK and WORLD_SIZE), Open MPI, MPICH and its kin, Slurm,
// and `ranks=N`; a launcher of one process, or none, gives a placement that is alone. MASTER_ADDR
// and MASTER_PORT say where ranks meet; launchers of one machine need neither. Error: variables
// that are missing, no numbers, or contradict each other; it names them.
RankPlacement placement_from(const Environment& environment);
RankPlacement placement_from_environment();

// "torchrun", "mpirun", "srun", …: for messages.
std::string launcher_name(Launcher launcher);

// The variables of a process that `ranks=N` starts, "NAME=value".
std::vector<std::string> own_variables(const RankPlacement& placement);

}  // namespace continuo
