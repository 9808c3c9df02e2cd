#include "io/stored_zip.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/utf8.h"

namespace continuo {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

namespace {

// Record layouts: PKWARE's APPNOTE.TXT, section 4.3.
constexpr uint32_t kLocalHeader = 0x04034b50, kDirectoryEntry = 0x02014b50;
constexpr uint32_t kDirectoryEnd = 0x06054b50, kDirectoryEnd64 = 0x06064b50;
constexpr uint32_t kLocator64 = 0x07064b50;
constexpr size_t kLocalHeaderBytes = 30, kEntryBytes = 46, kEndBytes = 22, kEnd64Bytes = 56;
constexpr size_t kLocatorBytes = 20, kMaxComment = 65535;
constexpr uint16_t kExtra64 = 1, kEncrypted = 1;
constexpr uint32_t kIn64 = 0xffffffffU;  // the field stands in the zip64 record instead

struct Directory {
  uint64_t entries = 0, offset = 0, bytes = 0;
};

struct Entry {
  std::string name;
  uint64_t begin = 0, end = 0;  // with the local header
  std::span<const std::byte> data;
};

class Reader {
 public:
  Reader(std::span<const std::byte> archive, const std::string& file)
      : archive_(archive), file_(file) {}

  ZipEntries read() const {
    const Directory directory = find_directory();
    if (directory.entries > directory.bytes / kEntryBytes) {
      broken("a directory of {} bytes cannot hold {} entries", directory.bytes, directory.entries);
    }
    std::vector<Entry> entries;
    uint64_t position = directory.offset;
    const uint64_t end = directory.offset + directory.bytes;
    for (uint64_t i = 0; i < directory.entries; ++i) {
      entries.push_back(read_entry(position, end, directory.offset));
    }
    return collect(entries);
  }

 private:
  template <class... Args>
  [[noreturn]] void broken(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: bad zip archive: {}", file_, fmt::format(format, std::forward<Args>(args)...));
  }

  template <class T>
  T get(uint64_t position) const {
    T value;
    if (position > archive_.size() || archive_.size() - position < sizeof value) {
      broken("a record at byte {} ends beyond the file", position);
    }
    std::memcpy(&value, archive_.data() + position, sizeof value);
    return value;
  }

  std::string_view text(uint64_t position, uint64_t size) const {
    if (position > archive_.size() || archive_.size() - position < size) {
      broken("a name at byte {} ends beyond the file", position);
    }
    return {reinterpret_cast<const char*>(archive_.data()) + position, size};
  }

  // The end record is the last thing in the file but for a comment that it measures.
  uint64_t find_end() const {
    if (archive_.size() >= kEndBytes) {
      const uint64_t last = archive_.size() - kEndBytes;
      const uint64_t first = last > kMaxComment ? last - kMaxComment : 0;
      for (uint64_t at = last + 1; at-- > first;) {
        if (get<uint32_t>(at) == kDirectoryEnd && get<uint16_t>(at + 20) == last - at) return at;
      }
    }
    throw Error(file_ + ": the file is truncated: it begins as a zip archive but has no directory",
                "the download or copy of this file is incomplete");
  }

  Directory find_directory() const {
    const uint64_t end = find_end();
    Directory directory{get<uint16_t>(end + 10), get<uint32_t>(end + 16), get<uint32_t>(end + 12)};
    uint64_t limit = end;
    if (get<uint16_t>(end + 4) != 0 && get<uint16_t>(end + 4) != 0xffff) {
      broken("it is a part of a set of several files");
    }
    if (end >= kLocatorBytes && get<uint32_t>(end - kLocatorBytes) == kLocator64) {
      const auto end64 = get<uint64_t>(end - kLocatorBytes + 8);
      if (end64 > end - kLocatorBytes || end - kLocatorBytes - end64 < kEnd64Bytes ||
          get<uint32_t>(end64) != kDirectoryEnd64) {
        broken("the zip64 end record is not at byte {}", end64);
      }
      directory = {get<uint64_t>(end64 + 32), get<uint64_t>(end64 + 48), get<uint64_t>(end64 + 40)};
      limit = end64;
    }
    if (directory.offset > limit || directory.bytes > limit - directory.offset) {
      broken("the directory of {} bytes at byte {} does not lie in the file", directory.bytes,
             directory.offset);
    }
    return directory;
  }

  // Advances `position` to the next entry; data must end before `data_limit`.
  Entry read_entry(uint64_t& position, uint64_t end, uint64_t data_limit) const {
    if (position > end || end - position < kEntryBytes ||
        get<uint32_t>(position) != kDirectoryEntry) {
      broken("no directory entry at byte {}", position);
    }
    const auto flags = get<uint16_t>(position + 8), method = get<uint16_t>(position + 10);
    uint64_t stored = get<uint32_t>(position + 20), size = get<uint32_t>(position + 24);
    uint64_t local = get<uint32_t>(position + 42);
    const auto name_bytes = get<uint16_t>(position + 28),
               extra_bytes = get<uint16_t>(position + 30);
    const auto comment_bytes = get<uint16_t>(position + 32);
    const std::string name(text(position + kEntryBytes, name_bytes));
    if (find_invalid_utf8(name)) broken("the name of an entry is not valid UTF-8");

    const uint64_t extra = position + kEntryBytes + name_bytes;
    read_extra64(extra, extra + extra_bytes, name, size, stored, local);
    position = extra + extra_bytes + comment_bytes;
    if (position > end) broken("the directory entry of '{}' ends beyond the directory", name);

    if (flags & kEncrypted) broken("the entry '{}' is encrypted", name);
    if (method != 0 || stored != size) {
      throw Error(
          fmt::format("{}: the entry '{}' is compressed", file_, name),
          "torch.save does not compress: this is a TorchScript program or was packed again; "
          "save the model's state_dict() with torch.save or as safetensors");
    }
    return locate(name, local, size, data_limit);
  }

  // Each field that holds kIn64 stands in the extra record, in this order.
  void read_extra64(uint64_t position, uint64_t end, const std::string& name, uint64_t& size,
                    uint64_t& stored, uint64_t& local) const {
    uint64_t* const fields[] = {&size, &stored, &local};
    size_t missing = 0;
    for (const uint64_t* field : fields) missing += *field == kIn64;
    while (missing > 0) {
      if (position + 4 > end) broken("the entry '{}' lacks its zip64 record", name);
      const auto id = get<uint16_t>(position), bytes = get<uint16_t>(position + 2);
      position += 4;
      if (position + bytes > end) broken("the zip64 record of '{}' is too long", name);
      if (id == kExtra64) {
        if (bytes < 8 * missing) broken("the zip64 record of '{}' is too short", name);
        for (uint64_t* field : fields) {
          if (*field != kIn64) continue;
          *field = get<uint64_t>(position);
          position += 8;
        }
        return;
      }
      position += bytes;
    }
  }

  Entry locate(const std::string& name, uint64_t local, uint64_t size, uint64_t limit) const {
    if (local > limit || limit - local < kLocalHeaderBytes ||
        get<uint32_t>(local) != kLocalHeader) {
      broken("the entry '{}' is not at byte {}", name, local);
    }
    const auto name_bytes = get<uint16_t>(local + 26), extra_bytes = get<uint16_t>(local + 28);
    const uint64_t data = local + kLocalHeaderBytes + name_bytes + extra_bytes;
    if (data > limit || limit - data < size) {
      fail("{}: the file is truncated: the entry '{}' has {} bytes at byte {}", file_, name, size,
           data);
    }
    if (text(local + kLocalHeaderBytes, name_bytes) != name) {
      broken("the entry '{}' has another name at byte {}", name, local);
    }
    return {name, local, data + size, archive_.subspan(data, size)};
  }

  ZipEntries collect(std::vector<Entry>& entries) const {
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.begin < b.begin; });
    ZipEntries result;
    uint64_t end = 0;
    for (const Entry& entry : entries) {
      if (entry.begin < end) broken("the entry '{}' overlaps another", entry.name);
      end = entry.end;
      if (!result.emplace(entry.name, entry.data).second) {
        broken("the entry '{}' comes twice", entry.name);
      }
    }
    return result;
  }

  std::span<const std::byte> archive_;
  const std::string& file_;
};

}  // namespace

bool looks_like_zip(std::span<const std::byte> archive) {
  uint32_t start = 0;
  if (archive.size() < sizeof start) return false;
  std::memcpy(&start, archive.data(), sizeof start);
  return start == kLocalHeader || start == kDirectoryEnd;
}

ZipEntries read_stored_zip(std::span<const std::byte> archive, const std::string& file) {
  return Reader(archive, file).read();
}

}  // namespace continuo
