#include "core/files.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/system_error.h"

namespace continuo {
namespace fs = std::filesystem;
namespace {

// Names nobody else uses: the process id and a counter.
fs::path temporary_sibling(const fs::path& path) {
  static std::atomic<int> counter{0};
  return path.parent_path() /
         fmt::format(".{}.tmp-{}-{}", path.filename().string(), getpid(), counter++);
}

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// "runs/x/" names the same directory as "runs/x".
fs::path without_trailing_slash(fs::path path) {
  return path.has_filename() ? path : path.parent_path();
}

void write_all(int fd, const char* bytes, size_t size, int64_t offset, const fs::path& path) {
  while (size > 0) {
    ssize_t written = offset < 0 ? ::write(fd, bytes, size) : ::pwrite(fd, bytes, size, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw system_error("write", path, errno);
    bytes += written;
    size -= static_cast<size_t>(written);
    if (offset >= 0) offset += written;
  }
}

void sync(const fs::path& path, int flags) {
  FileDescriptor fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (fd.get() < 0) throw system_error("open", path, errno);
  // Some file systems cannot sync a directory; then there is nothing to be done about it.
  if (::fsync(fd.get()) != 0 && errno != EINVAL && errno != ENOTSUP) {
    throw system_error("flush to disk", path, errno);
  }
}

void sync_tree(const fs::path& directory) {
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(directory, error); it != fs::end(it);
       it.increment(error)) {
    if (it->is_symlink(error)) continue;
    if (it->is_directory(error)) sync_directory(it->path());
    if (it->is_regular_file(error)) sync(it->path(), O_RDONLY);
  }
  if (error) throw system_error("flush to disk", directory, error.value());
  sync_directory(directory);
}

void rename_over(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    throw system_error("rename a temporary to", to, errno);
}

// A leftover is old enough that its maker must have locked it, and nobody holds the lock.
bool is_leftover(const fs::path& directory) {
  std::error_code error;
  auto age = fs::file_time_type::clock::now() - fs::last_write_time(directory, error);
  if (error || age < std::chrono::minutes(1)) return false;
  FileDescriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.get() >= 0 && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
}

void remove_leftovers(const fs::path& target) {
  std::string prefix = fmt::format(".{}.tmp-", target.filename().string());
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent_of(target), ignored)) {
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    if (entry.is_directory(ignored) && is_leftover(entry.path())) fs::remove_all(entry, ignored);
  }
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = other.release();
  }
  return *this;
}

int FileDescriptor::release() { return std::exchange(fd_, -1); }

void FileDescriptor::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

FileReader::FileReader(fs::path path)
    : path_(std::move(path)), fd_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (fd_.get() < 0) throw system_error("read", path_, errno);
}

size_t FileReader::read(void* buffer, size_t size) {
  size_t total = 0;
  while (total < size) {
    ssize_t count = ::read(fd_.get(), static_cast<char*>(buffer) + total, size - total);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw system_error("read", path_, errno);
    if (count == 0) break;
    total += static_cast<size_t>(count);
  }
  return total;
}

AtomicFile::AtomicFile(fs::path path)
    : path_(std::move(path)),
      temporary_(temporary_sibling(path_)),
      fd_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) {
  if (fd_.get() < 0) throw system_error("write", path_, errno);
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, size_t size) {
  write_all(fd_.get(), static_cast<const char*>(bytes), size, -1, path_);
}

void AtomicFile::write_at(uint64_t offset, const void* bytes, size_t size) {
  write_all(fd_.get(), static_cast<const char*>(bytes), size, static_cast<int64_t>(offset), path_);
}

void AtomicFile::commit() {
  if (::fsync(fd_.get()) != 0) throw system_error("flush to disk", path_, errno);
  // Network file systems report a full disk here.
  if (::close(fd_.release()) != 0) throw system_error("write", path_, errno);
  rename_over(temporary_, path_);
  temporary_.clear();
  sync_directory(parent_of(path_));
}

AtomicDirectory::AtomicDirectory(fs::path target)
    : target_(without_trailing_slash(std::move(target))), temporary_(temporary_sibling(target_)) {
  make_directories(parent_of(target_));
  remove_leftovers(target_);
  if (::mkdir(temporary_.c_str(), 0777) != 0) throw system_error("create", temporary_, errno);
  lock_ = FileDescriptor(::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock_.get() >= 0) ::flock(lock_.get(), LOCK_EX | LOCK_NB);
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::commit() {
  sync_tree(temporary_);
  fs::path parent = parent_of(target_);
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(target_, ignored))) {
    rename_over(temporary_, target_);
    temporary_.clear();
    sync_directory(parent);
  } else if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(),
                         RENAME_EXCHANGE) == 0) {
    // `temporary_` is now the old directory.
    sync_directory(parent);
    fs::remove_all(temporary_, ignored);
    temporary_.clear();
  } else {
    // No exchange on this file system: between the two renames only the old directory's other name
    // is there.
    fs::path old = temporary_sibling(target_);
    rename_over(target_, old);
    rename_over(temporary_, target_);
    temporary_.clear();
    sync_directory(parent);
    fs::remove_all(old, ignored);
  }
  lock_.close();
}

std::string read_file(const fs::path& path) {
  FileReader reader(path);
  std::string content;
  std::error_code unknown_size;
  uintmax_t size = fs::file_size(path, unknown_size);
  // Pipes and /proc have no size; one byte more finds the end at the first attempt.
  size_t step = unknown_size ? 0 : static_cast<size_t>(size) + 1;
  while (true) {
    step = std::max<size_t>(step, 4096);
    size_t before = content.size();
    content.resize(before + step);
    size_t count = reader.read(content.data() + before, step);
    content.resize(before + count);
    if (count < step) return content;
    step = content.size();
  }
}

void atomic_write(const fs::path& path, std::string_view bytes) {
  make_directories(parent_of(path));
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void make_directories(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw system_error("create the directory", path, error.value());
}

void sync_directory(const fs::path& path) { sync(path, O_RDONLY | O_DIRECTORY); }

}  // namespace continuo
