// A lock between processes on a file (flock), for work on a shared cache. Released by the
// destructor and by the death of the process. The file itself stays.
#pragma once

#include <filesystem>
#include <optional>

#include "core/files.h"

namespace continuo {

class FileLock {
 public:
  // Waits until the lock is free; creates the file and its directory. Error: unwritable, or
  // interrupted while waiting.
  explicit FileLock(const std::filesystem::path& path);
  // Nothing when somebody else holds it.
  static std::optional<FileLock> try_lock(const std::filesystem::path& path);

 private:
  explicit FileLock(FileDescriptor fd) : fd_(std::move(fd)) {}
  FileDescriptor fd_;
};

}  // namespace continuo
