// Reading whole files, and writing that is never half there: everything goes to a temporary
// sibling, is fsynced and then renamed. Errors name the path, what was being done and the system's
// reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace continuo {

// Owns a file descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  ~FileDescriptor() { close(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;

  int get() const { return fd_; }
  int release();
  void close();

 private:
  int fd_;
};

// Streams a file from its start.
class FileReader {
 public:
  explicit FileReader(std::filesystem::path path);
  // Fills up to `size` bytes, fewer only at the end of the file, where it returns 0.
  size_t read(void* buffer, size_t size);

 private:
  std::filesystem::path path_;
  FileDescriptor fd_;
};

// Streams into a temporary sibling of `path`; commit() fsyncs and renames it over `path`. Without
// commit the target is untouched and the temporary removed.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, size_t size);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  // Overwrites bytes that were written before (a header whose content is known last).
  void write_at(uint64_t offset, const void* bytes, size_t size);
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  FileDescriptor fd_;
};

// A directory that appears complete or not at all. Fill path(), then commit(): every file in it is
// fsynced and it is renamed to the target, replacing what is there (by one atomic exchange where
// the file system can). Without commit it is removed. Leftovers of processes that died while
// filling the same target are removed on construction.
class AtomicDirectory {
 public:
  explicit AtomicDirectory(std::filesystem::path target);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  const std::filesystem::path& path() const { return temporary_; }
  std::filesystem::path operator/(const std::string& name) const { return temporary_ / name; }
  void commit();

 private:
  std::filesystem::path target_, temporary_;
  // Held while the temporary is in use; it tells work in progress from leftovers.
  FileDescriptor lock_;
};

std::string read_file(const std::filesystem::path& path);
// AtomicFile in one call. Creates missing parent directories.
void atomic_write(const std::filesystem::path& path, std::string_view bytes);
// Creates it and its parents; an existing directory is fine. Error otherwise.
void make_directories(const std::filesystem::path& path);
// Makes renames and creations inside a directory survive a power failure.
void sync_directory(const std::filesystem::path& path);

}  // namespace continuo
