// A file that is written front to back, for the writers of this layer. Errors name the path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "core/files.h"

namespace continuo {

class OutputFile {
 public:
  // Creates or empties it.
  explicit OutputFile(const std::filesystem::path& path);

  void write(const void* bytes, size_t size);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  uint64_t written() const { return written_; }
  // Flushes to disk. A file that was not closed is incomplete.
  void close();

 private:
  std::filesystem::path path_;
  FileDescriptor fd_;
  uint64_t written_ = 0;
};

}  // namespace continuo
