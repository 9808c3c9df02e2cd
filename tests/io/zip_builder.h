// Puts a zip archive together record by record, so that tests can break any field.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace continuo::test {

template <class T>
void append(std::string& text, T value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof value);
}

inline std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class ZipBuilder {
 public:
  struct Entry {
    std::string name, data;
    uint16_t method = 0, flags = 0;
    uint32_t skew = 0;      // added to the offset that the directory names
    bool in_zip64 = false;  // sizes and offset in the extra field
    std::string local_name{};
  };

  ZipBuilder& add(Entry entry) {
    const uint64_t offset = text_.size();
    const auto size = static_cast<uint32_t>(entry.data.size());
    const std::string local_name = entry.local_name.empty() ? entry.name : entry.local_name;
    append(text_, uint32_t{0x04034b50});
    head(text_, entry, size, size, local_name.size(), 0);
    text_ += local_name + entry.data;

    std::string extra;
    if (entry.in_zip64) {
      append(extra, uint16_t{0x4246});  // another record first
      append(extra, uint16_t{2});
      append(extra, uint16_t{0});
      append(extra, uint16_t{1});
      append(extra, uint16_t{24});
      append(extra, uint64_t{size});
      append(extra, uint64_t{size});
      append(extra, offset + entry.skew);
    }
    append(directory_, uint32_t{0x02014b50});
    append(directory_, uint16_t{0});
    const uint32_t shown = entry.in_zip64 ? 0xffffffffU : size;
    head(directory_, entry, shown, shown, entry.name.size(), extra.size());
    append(directory_, uint16_t{0});  // comment
    append(directory_, uint16_t{0});  // disk
    append(directory_, uint16_t{0});
    append(directory_, uint32_t{0});
    append(directory_, entry.in_zip64 ? 0xffffffffU : static_cast<uint32_t>(offset) + entry.skew);
    directory_ += entry.name + extra;
    ++entries_;
    return *this;
  }

  std::string finish(bool zip64 = false, const std::string& comment = {}) const {
    std::string text = text_ + directory_;
    if (zip64) {
      const uint64_t end64 = text.size();
      append(text, uint32_t{0x06064b50});
      append(text, uint64_t{44});
      append(text, uint32_t{0});
      append(text, uint64_t{0});
      append(text, uint64_t{entries_});
      append(text, uint64_t{entries_});
      append(text, uint64_t{directory_.size()});
      append(text, uint64_t{text_.size()});
      append(text, uint32_t{0x07064b50});
      append(text, uint32_t{0});
      append(text, end64);
      append(text, uint32_t{1});
    }
    append(text, uint32_t{0x06054b50});
    append(text, uint32_t{0});
    append(text, static_cast<uint16_t>(zip64 ? 0xffff : entries_));
    append(text, static_cast<uint16_t>(zip64 ? 0xffff : entries_));
    append(text, zip64 ? 0xffffffffU : static_cast<uint32_t>(directory_.size()));
    append(text, zip64 ? 0xffffffffU : static_cast<uint32_t>(text_.size()));
    append(text, static_cast<uint16_t>(comment.size()));
    return text + comment;
  }

 private:
  // What local headers and directory entries have in common.
  static void head(std::string& text, const Entry& entry, uint32_t stored, uint32_t size,
                   size_t name_bytes, size_t extra_bytes) {
    append(text, uint16_t{20});
    append(text, entry.flags);
    append(text, entry.method);
    append(text, uint32_t{0});  // time
    append(text, uint32_t{0});  // checksum
    append(text, stored);
    append(text, size);
    append(text, static_cast<uint16_t>(name_bytes));
    append(text, static_cast<uint16_t>(extra_bytes));
  }

  std::string text_, directory_;
  uint16_t entries_ = 0;
};

}  // namespace continuo::test
