#include "comm/launch.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/placement.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/process.h"

extern char** environ;

namespace continuo {

namespace {

// What the others have to end in after one rank failed: first on their own, then by a signal.
constexpr double kGrace = 15, kLastGrace = 5;

[[noreturn]] void fail_system(std::string_view what) {
  fail("cannot {}: {}", what, std::strerror(errno));
}

// A socket that listens on a free port of the loopback device, and that port. The first rank
// inherits it, so that nobody can take the port in between.
std::pair<FileDescriptor, int64_t> listening_socket() {
  FileDescriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (fd.get() < 0 || ::bind(fd.get(), generic, length) != 0 || ::listen(fd.get(), 128) != 0 ||
      ::getsockname(fd.get(), generic, &length) != 0) {
    fail_system("open a socket for the ranks to meet");
  }
  return {std::move(fd), ntohs(address.sin_port)};
}

std::vector<std::string> own_arguments() {
  const std::string text = read_file("/proc/self/cmdline");
  std::vector<std::string> arguments;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\0', begin), text.size());
    arguments.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return arguments;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

class Ranks {
 public:
  explicit Ranks(int64_t count);
  ~Ranks() { signal_all(SIGKILL); }
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int wait();

 private:
  pid_t start(const RankPlacement& placement);
  void reap();
  void ended(size_t rank, int status);
  void signal_all(int signal) const;

  sigset_t signals_{}, before_{};
  std::vector<pid_t> running_;  // 0: ended
  int code_ = 0;
  double failed_at_ = 0;  // seconds_now(); 0: none has failed
  bool told_ = false;
};

Ranks::Ranks(int64_t count) {
  // Waited for, not handled: nothing can be missed between two system calls.
  sigemptyset(&signals_);
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM}) sigaddset(&signals_, signal);
  sigprocmask(SIG_BLOCK, &signals_, &before_);
  auto [socket, port] = listening_socket();
  for (int64_t rank = 0; rank < count; ++rank) {
    running_.push_back(start({.launcher = Launcher::kOwn,
                              .rank = rank,
                              .size = count,
                              .local_rank = rank,
                              .local_size = count,
                              .port = port,
                              .store_socket = rank == 0 ? socket.get() : -1}));
  }
}

pid_t Ranks::start(const RankPlacement& placement) {
  std::vector<std::string> arguments = own_arguments(), variables = own_variables(placement);
  for (char** at = environ; *at; ++at) variables.emplace_back(*at);
  std::vector<char*> argv = pointers(arguments), envp = pointers(variables);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) fail_system(fmt::format("start rank {}", placement.rank));
  if (child > 0) return child;
  // Should this process be killed, the ranks save and end.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  sigprocmask(SIG_SETMASK, &before_, nullptr);
  if (placement.store_socket >= 0) fcntl(placement.store_socket, F_SETFD, 0);  // stays open
  execve("/proc/self/exe", argv.data(), envp.data());
  _exit(127);
}

int Ranks::wait() {
  const auto left = [this] { return std::ranges::any_of(running_, [](pid_t p) { return p > 0; }); };
  while (left()) {
    const timespec second{.tv_sec = 1, .tv_nsec = 0};
    siginfo_t info{};
    const int signal = sigtimedwait(&signals_, &info, &second);
    // A terminal signals all processes of the group itself.
    if ((signal == SIGINT || signal == SIGTERM) && info.si_code <= 0) signal_all(signal);
    reap();
    if (failed_at_ == 0) continue;
    const double since = seconds_now() - failed_at_;
    if (since > kGrace && !std::exchange(told_, true)) {
      log_warning("ending the ranks that go on");
      signal_all(SIGTERM);
    }
    if (since > kGrace + kLastGrace) signal_all(SIGKILL);
  }
  return code_;
}

void Ranks::reap() {
  for (size_t rank = 0; rank < running_.size(); ++rank) {
    int status = 0;
    if (running_[rank] > 0 && waitpid(running_[rank], &status, WNOHANG) == running_[rank]) {
      running_[rank] = 0;
      ended(rank, status);
    }
  }
}

void Ranks::ended(size_t rank, int status) {
  const bool killed = WIFSIGNALED(status);
  const int code = killed ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  if (code == 0) return;
  if (killed && !told_) {
    log_error("rank {} was ended by signal {} ({}){}", rank, WTERMSIG(status),
              strsignal(WTERMSIG(status)),
              WTERMSIG(status) == SIGKILL ? ": perhaps the machine ran out of memory" : "");
  }
  if (failed_at_ != 0) return;
  failed_at_ = seconds_now();
  code_ = code;
}

void Ranks::signal_all(int signal) const {
  for (const pid_t process : running_) {
    if (process > 0) kill(process, signal);
  }
}

}  // namespace

int launch_ranks(int64_t count) { return Ranks(count).wait(); }

}  // namespace continuo
