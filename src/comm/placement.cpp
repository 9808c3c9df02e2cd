#include "comm/placement.h"

#include <charconv>
#include <cstdlib>
#include <vector>

#include "core/error.h"

namespace continuo {

namespace {

constexpr const char* kStoreSocket = "CONTINUO_STORE_SOCKET";
constexpr int64_t kPort = 29500;  // torchrun's

// The variables of one launcher.
struct Names {
  Launcher launcher;
  std::string rank, size, local_rank, local_size;
};

const Names kVariables{Launcher::kVariables, "RANK", "WORLD_SIZE", "LOCAL_RANK",
                       "LOCAL_WORLD_SIZE"};
const Names kOpenMpi{Launcher::kOpenMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
const Names kMpich{Launcher::kMpich, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};

class Variables {
 public:
  explicit Variables(const Environment& environment) : environment_(environment) {}

  std::optional<std::string> text(const std::string& name) const {
    auto value = environment_(name);
    return value && value->empty() ? std::nullopt : value;
  }
  bool has(const std::string& name) const { return text(name).has_value(); }

  // Error: set to what is no whole number of at least 0.
  std::optional<int64_t> number(const std::string& name) const {
    const auto value = text(name);
    if (!value) return {};
    int64_t parsed = 0;
    const char* const end = value->data() + value->size();
    const auto [rest, error] = std::from_chars(value->data(), end, parsed);
    if (error != std::errc() || rest != end || parsed < 0)
      fail("{}={}: not a whole number of at least 0", name, *value);
    return parsed;
  }
  int64_t needed(const std::string& name, const std::string& because) const {
    const auto value = number(name);
    if (!value) throw Error(fmt::format("{} is set, {} is not", because, name), "Set both.");
    return *value;
  }

 private:
  const Environment& environment_;
};

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

void check(const RankPlacement& p, const Names& names) {
  if (p.size < 1) fail("{}={}: there is at least one process", names.size, p.size);
  if (p.rank >= p.size)
    fail("{}={} and {}={}: ranks count from 0", names.rank, p.rank, names.size, p.size);
  if (p.local_size < 1 || p.local_rank >= p.local_size || p.local_size > p.size) {
    fail("{}={}, {}={} and {}={} contradict each other", names.local_rank, p.local_rank,
         names.local_size, p.local_size, names.size, p.size);
  }
}

// MASTER_ADDR and MASTER_PORT, where a launcher has no better idea.
void meet(const Variables& v, RankPlacement& p, const Names& names) {
  const auto host = v.text("MASTER_ADDR");
  if (!host && p.local_size < p.size) {
    throw Error(fmt::format("{}={}, but {}={}: the ranks are on several machines and MASTER_ADDR "
                            "does not say where they meet",
                            names.size, p.size, names.local_size, p.local_size),
                "Set it to the address of the machine that has rank 0.");
  }
  if (host) p.host = *host;
  p.port = v.number("MASTER_PORT").value_or(kPort);
}

RankPlacement ranks_of(const Variables& v, const Names& names) {
  RankPlacement p{.launcher = names.launcher};
  p.size = v.needed(names.size, names.rank);
  p.rank = v.needed(names.rank, names.size);
  const bool known = v.has(names.local_rank) || v.has(names.local_size);
  const auto host = v.text("MASTER_ADDR");
  if (!known && host && !is_loopback(*host) && p.size > 1) {
    throw Error(fmt::format("{} and {} are set, {} and {} are not", names.rank, names.size,
                            names.local_rank, names.local_size),
                "They say how many ranks share a machine's cores.");
  }
  p.local_rank = known ? v.needed(names.local_rank, names.local_size) : p.rank;
  p.local_size = known ? v.needed(names.local_size, names.local_rank) : p.size;
  check(p, names);
  return p;
}

RankPlacement variables(const Variables& v) {
  RankPlacement p = ranks_of(v, kVariables);
  if (v.has(kStoreSocket) || v.text("CONTINUO_LAUNCHED")) p.launcher = Launcher::kOwn;
  if (v.has("TORCHELASTIC_RUN_ID")) p.launcher = Launcher::kTorchrun;
  p.store_is_launchers = v.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  p.attempt = v.text("TORCHELASTIC_RESTART_COUNT").value_or("0");
  if (p.alone()) return p;
  meet(v, p, kVariables);
  if (p.rank == 0) p.store_socket = static_cast<int>(v.number(kStoreSocket).value_or(-1));
  return p;
}

RankPlacement mpi(const Variables& v, const Names& names) {
  RankPlacement p = ranks_of(v, names);
  // Somebody's RANK beside mpirun's: which of the two holds cannot be guessed.
  for (const auto& [own, theirs] :
       {std::pair{kVariables.rank, names.rank}, std::pair{kVariables.size, names.size}}) {
    const auto a = v.number(own), b = v.number(theirs);
    if (a && a != b)
      throw Error(fmt::format("{}={} contradicts {}={}", own, *a, theirs, *b),
                  fmt::format("Unset the one that no launcher of this run has set ({}).", own));
  }
  if (!p.alone()) meet(v, p, names);
  return p;
}

// "node[03-05,9],gpu1" → "node03": where rank 0 runs.
std::string first_host(const std::string& list) {
  const size_t open = list.find('['), comma = list.find(',');
  if (open == std::string::npos || comma < open) return list.substr(0, comma);
  const size_t end = list.find_first_of(",-]", open + 1);
  const size_t close = list.find(']', open);
  if (end == std::string::npos || close == std::string::npos)
    fail("SLURM_STEP_NODELIST={}: not a list of hosts", list);
  const size_t rest = list.find(',', close);
  return list.substr(0, open) + list.substr(open + 1, end - open - 1) +
         list.substr(close + 1, (rest == std::string::npos ? list.size() : rest) - close - 1);
}

// "4(x2),3": tasks of every node, in order.
int64_t tasks_of_node(const std::string& list, int64_t node) {
  const char *at = list.data(), *const end = at + list.size();
  while (at < end) {
    int64_t tasks = 0, times = 1;
    at = std::from_chars(at, end, tasks).ptr;
    if (end - at > 2 && at[0] == '(' && at[1] == 'x') {
      at = std::from_chars(at + 2, end, times).ptr;
      if (at < end && *at == ')') ++at;
    }
    if (tasks < 1 || times < 1 || (at < end && *at != ',')) break;
    if (node < times) return tasks;
    node -= times;
    ++at;
  }
  fail("SLURM_STEP_TASKS_PER_NODE={}: node {} has no number of tasks in it", list, node);
}

RankPlacement slurm(const Variables& v) {
  Names names{Launcher::kSlurm, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID",
              "SLURM_NTASKS_PER_NODE"};
  if (v.has("SLURM_STEP_NUM_TASKS")) names.size = "SLURM_STEP_NUM_TASKS";
  RankPlacement p{.launcher = Launcher::kSlurm};
  p.size = v.needed(names.size, names.rank);
  p.rank = v.needed(names.rank, names.size);
  p.local_rank = v.needed(names.local_rank, names.rank);
  if (const auto tasks = v.text("SLURM_STEP_TASKS_PER_NODE")) {
    p.local_size = tasks_of_node(*tasks, v.number("SLURM_NODEID").value_or(0));
  } else {
    p.local_size = v.number(names.local_size).value_or(p.size);
  }
  check(p, names);
  if (p.alone()) return p;
  const auto nodes = v.text("SLURM_STEP_NODELIST");
  const auto given = v.text("MASTER_ADDR"), launched = v.text("SLURM_LAUNCH_NODE_IPADDR");
  if (given || p.local_size < p.size) {
    if (!given && !nodes && !launched)
      fail("{}={}: neither MASTER_ADDR nor SLURM_STEP_NODELIST says where ranks meet", names.size,
           p.size);
    p.host = given ? *given : nodes ? first_host(*nodes) : *launched;
  }
  // Jobs that share a machine do not share a port; below 32768, from where on Linux gives ports to
  // outgoing connections.
  p.port = v.number("MASTER_PORT").value_or(20000 + v.number("SLURM_JOB_ID").value_or(0) % 12000);
  return p;
}

}  // namespace

RankPlacement placement_from(const Environment& environment) {
  const Variables v(environment);
  // Launchers inside of launchers: torchrun's processes also see what srun or mpirun, which started
  // it, told it.
  const bool torchrun = v.has("TORCHELASTIC_RUN_ID") || v.text("CONTINUO_LAUNCHED");
  if (torchrun) return variables(v);
  if (v.has(kOpenMpi.rank)) return mpi(v, kOpenMpi);
  if (v.has(kMpich.rank)) return mpi(v, kMpich);
  if (v.has(kVariables.rank) || v.has(kVariables.size)) return variables(v);
  // A batch script sees the variables of its job too, but is one process: only steps have ranks.
  const bool step = v.has("SLURM_STEP_ID") || v.has("SLURM_STEP_NUM_TASKS") ||
                    v.number("SLURM_PROCID").value_or(0) > 0;
  if (step && v.has("SLURM_PROCID")) return slurm(v);
  return {};
}

RankPlacement placement_from_environment() {
  return placement_from([](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value ? std::optional<std::string>(value) : std::nullopt;
  });
}

std::string launcher_name(Launcher launcher) {
  switch (launcher) {
    case Launcher::kOwn:
      return "ranks=N";
    case Launcher::kTorchrun:
      return "torchrun";
    case Launcher::kVariables:
      return "RANK and WORLD_SIZE";
    case Launcher::kOpenMpi:
      return "Open MPI";
    case Launcher::kMpich:
      return "MPICH";
    case Launcher::kSlurm:
      return "Slurm";
    case Launcher::kNone:
      break;
  }
  return "no launcher";
}

std::vector<std::string> own_variables(const RankPlacement& p) {
  std::vector<std::string> variables = {
      "CONTINUO_LAUNCHED=1",
      fmt::format("{}={}", kVariables.rank, p.rank),
      fmt::format("{}={}", kVariables.size, p.size),
      fmt::format("{}={}", kVariables.local_rank, p.local_rank),
      fmt::format("{}={}", kVariables.local_size, p.local_size),
      fmt::format("MASTER_ADDR={}", p.host),
      fmt::format("MASTER_PORT={}", p.port),
  };
  if (p.store_socket >= 0) variables.push_back(fmt::format("{}={}", kStoreSocket, p.store_socket));
  return variables;
}

}  // namespace continuo
