#include "core/mapped_file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"
#include "core/system_error.h"

namespace continuo {

MappedFile::MappedFile(const std::filesystem::path& path, Mode mode) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) throw system_error("read", path, errno);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) throw system_error("read", path, errno);
  if (!S_ISREG(status.st_mode)) fail("cannot map {}: it is not a regular file", path.string());
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  int protection = mode == Mode::kPrivate ? PROT_READ | PROT_WRITE : PROT_READ;
  int flags = mode == Mode::kPrivate ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED;
  void* address = ::mmap(nullptr, size_, protection, flags, fd.get(), 0);
  if (address == MAP_FAILED) throw system_error("map", path, errno);
  data_ = static_cast<std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

namespace {

const size_t kPage = static_cast<size_t>(::sysconf(_SC_PAGESIZE));

}  // namespace

void MappedFile::prefetch(size_t begin, size_t size) const {
  const size_t first = begin / kPage * kPage, end = std::min(begin + size, size_);
  if (first < end) ::madvise(data_ + first, end - first, MADV_WILLNEED);
}

void MappedFile::release(size_t begin, size_t size) const {
  const size_t first = (begin + kPage - 1) / kPage * kPage, end = (begin + size) / kPage * kPage;
  if (first < end) ::madvise(data_ + first, end - first, MADV_DONTNEED);
}

}  // namespace continuo
