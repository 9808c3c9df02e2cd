// Real processes as the ranks of a test, meeting over the loopback device.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/communicator.h"
#include "support/temp_dir.h"

namespace continuo::test {

struct RankEnd {
  int code = 0;  // exit code, or -signal
  std::string error;
};

inline int exit_code(int status) {
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// Forks so many children and runs `body` in each. A child ends without clean-up; what `body` throws
// is its error.
inline std::vector<RankEnd> run_ranks(int64_t size, const std::function<void(Communicator&)>& body,
                                      std::chrono::seconds timeout = std::chrono::seconds(60)) {
  const TempDir errors;
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(socket, generic, length) != 0 || listen(socket, 16) != 0 ||
      getsockname(socket, generic, &length) != 0) {
    return {};
  }
  std::vector<pid_t> children;
  for (int64_t rank = 0; rank < size; ++rank) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    if (rank > 0) close(socket);
    int code = 0;
    try {
      const auto ranks = open_communicator({.launcher = Launcher::kOwn,
                                            .rank = rank,
                                            .size = size,
                                            .local_rank = rank,
                                            .local_size = size,
                                            .port = ntohs(address.sin_port),
                                            .store_socket = rank == 0 ? socket : -1},
                                           timeout);
      body(*ranks);
    } catch (const std::exception& error) {
      errors.write(std::to_string(rank), error.what());
      code = 1;
    }
    fflush(nullptr);
    _exit(code);
  }
  close(socket);
  std::vector<RankEnd> ends;
  for (int64_t rank = 0; rank < size; ++rank) {
    int status = 0;
    waitpid(children[static_cast<size_t>(rank)], &status, 0);
    ends.push_back({exit_code(status), read_file(errors / std::to_string(rank))});
  }
  return ends;
}

}  // namespace continuo::test
