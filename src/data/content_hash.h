// The content hash of a data file, remembered so that gigabytes are not read again at every start.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace continuo {

// What tells cheaply that a file is the same as before.
struct FileStamp {
  uint64_t size = 0;
  int64_t modified_ns = 0;
  std::string sample;  // hash of 64 KiB at the start, the middle and the end

  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};
// Error: unreadable.
FileStamp stamp_file(const std::filesystem::path& file);

// XXH3-128 of the whole file. `<cache>/hashes/` remembers it per absolute path; it is believed only
// when size, modification time and the sampled content still agree. A file modified less than two
// seconds ago is hashed every time, because a second write may leave the same time behind. A
// damaged note is ignored.
std::string content_hash(const std::filesystem::path& file, const std::filesystem::path& cache);

}  // namespace continuo
