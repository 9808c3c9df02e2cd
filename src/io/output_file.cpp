#include "io/output_file.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "core/system_error.h"

namespace continuo {
OutputFile::OutputFile(const std::filesystem::path& path)
    : path_(path), fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
  if (fd_.get() < 0) throw system_error("create", path_, errno);
}

void OutputFile::write(const void* bytes, size_t size) {
  const char* from = static_cast<const char*>(bytes);
  written_ += size;
  while (size > 0) {
    const ssize_t count = ::write(fd_.get(), from, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw system_error("write", path_, errno);
    from += count;
    size -= static_cast<size_t>(count);
  }
}

void OutputFile::close() {
  if (::fsync(fd_.get()) != 0) throw system_error("flush to disk", path_, errno);
  // Network file systems report a full disk here.
  if (::close(fd_.release()) != 0) throw system_error("close", path_, errno);
}

}  // namespace continuo
