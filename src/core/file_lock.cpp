#include "core/file_lock.h"

#include <cerrno>
#include <chrono>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>

#include "core/interrupt.h"
#include "core/system_error.h"

namespace continuo {

std::optional<FileLock> FileLock::try_lock(const std::filesystem::path& path) {
  if (path.has_parent_path()) make_directories(path.parent_path());
  FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (fd.get() < 0) throw system_error("open the lock", path, errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return FileLock(std::move(fd));
  if (errno == EWOULDBLOCK || errno == EINTR) return std::nullopt;
  throw system_error("lock", path, errno);
}

// Polls, because a blocking flock would restart after Ctrl-C.
FileLock::FileLock(const std::filesystem::path& path) {
  while (true) {
    if (auto lock = try_lock(path)) {
      fd_ = std::move(lock->fd_);
      return;
    }
    if (interrupted()) fail("interrupted while waiting for the lock {}", path.string());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

}  // namespace continuo
