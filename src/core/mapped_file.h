// A file mapped into memory: read-only, or privately writable (changes stay in this process). Pages
// are read on first touch. A file that another process truncates while it is mapped kills the
// reader (SIGBUS): map only files that are replaced by renaming.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace continuo {

class MappedFile {
 public:
  enum class Mode { kRead, kPrivate };

  MappedFile() = default;
  // Error: unreadable, not a regular file. An empty file gives an empty mapping.
  explicit MappedFile(const std::filesystem::path& path, Mode mode = Mode::kRead);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  size_t size() const { return size_; }
  const std::byte* data() const { return data_; }
  // kPrivate only: writing through it in kRead mode is a fault of the caller.
  std::byte* mutable_data() { return data_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

  // Tells the kernel to start reading pages now: all of them, or those of a range.
  void prefetch() const { prefetch(0, size_); }
  void prefetch(size_t begin, size_t size) const;
  // Lets go of the pages that lie within a range: they are read again when they are touched again.
  // What was written to them is lost.
  void release(size_t begin, size_t size) const;

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace continuo
