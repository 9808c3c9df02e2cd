// Damages bytes, always the same way for the same seed, and shows them to readers of files.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "core/files.h"

namespace continuo::test {

// One to four edits of `bytes` below `end`: bits flipped, bytes and 8-byte numbers replaced by
// values that tend to break readers, pieces removed, repeated or moved.
inline std::string damage(const std::string& bytes, size_t end, std::mt19937_64& engine) {
  std::string text = bytes;
  const auto below = [&](size_t limit) { return limit == 0 ? 0 : engine() % limit; };
  const uint64_t numbers[] = {0, 1, 31, 255, 0x7fffffff, 0xffffffff, uint64_t(1) << 62, UINT64_MAX};
  for (size_t edits = 1 + below(4); edits > 0; --edits) {
    if (text.empty()) break;
    const size_t at = below(std::min(end, text.size()));
    const size_t size = std::min<size_t>(1 + below(16), text.size() - at);
    switch (below(6)) {
      case 0:
        text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        break;
      case 1:
        text[at] = static_cast<char>(engine());
        break;
      case 2: {
        const uint64_t number = numbers[below(8)];
        text.replace(at, std::min<size_t>(size, 8), reinterpret_cast<const char*>(&number),
                     std::min<size_t>(size, 8));
        break;
      }
      case 3:
        text.erase(at, size);
        break;
      case 4:
        text.insert(below(text.size()), text.substr(at, size));
        break;
      default:
        text.replace(below(text.size()), size, text.substr(at, size));
    }
  }
  return text;
}

// A file without a disk: thousands of them cost milliseconds.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& bytes) : fd_(memfd_create("damaged", MFD_CLOEXEC)) {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t count = ::write(fd_.get(), bytes.data() + done, bytes.size() - done);
      if (count <= 0) break;
      done += static_cast<size_t>(count);
    }
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_.get()); }

 private:
  FileDescriptor fd_;
};

}  // namespace continuo::test
