#include "data/store_file.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <stdlib.h>
#include <unistd.h>

#include "core/error.h"

namespace continuo {
namespace {

static_assert(sizeof(StoreEntry) == 24);

// In the byte order of the machine; a foreign one fails the version check.
struct Header {
  std::array<char, 8> magic = {'C', 'O', 'N', 'T', 'D', 'A', 'T', 'A'};
  uint32_t version = kStoreFileVersion;
  uint32_t entry_size = sizeof(StoreEntry);
  uint64_t examples = 0;
  uint64_t index_begin = 0, report_begin = 0, file_size = 0;
  std::array<char, 32> key{};
  std::array<char, 32> index_hash{};
  std::array<char, 32> report_hash{};
  std::array<char, 80> unused{};
  std::array<char, 32> header_hash{};  // of all bytes before it
};
static_assert(sizeof(Header) == 256);

constexpr size_t kBuffer = 1 << 20;
constexpr uint32_t kSources = (1U << 24) - 1;  // what an entry can count
constexpr size_t kHashedHeader = offsetof(Header, header_hash);

void put(std::array<char, 32>& field, const std::string& hex) {
  std::memcpy(field.data(), hex.data(), field.size());
}
std::string_view get(const std::array<char, 32>& field) { return {field.data(), field.size()}; }

std::string hash_of_header(const Header& header) {
  return hash_bytes({reinterpret_cast<const char*>(&header), kHashedHeader});
}

size_t padded(size_t bytes) { return (bytes + 3) / 4 * 4; }

// Unlinked at once, so that nothing is left even when the process is killed.
std::FILE* unnamed_file(const std::filesystem::path& directory) {
  std::string pattern = (directory / "index_XXXXXX").string();
  const int fd = ::mkstemp(pattern.data());
  if (fd < 0) fail("cannot write to {}: {}", directory.string(), std::strerror(errno));
  ::unlink(pattern.c_str());
  return ::fdopen(fd, "w+b");
}

}  // namespace

StoreWriter::StoreWriter(const std::filesystem::path& path, std::string key)
    : path_(path), key_(std::move(key)), file_(path), index_(unnamed_file(path.parent_path())) {
  const std::string space(sizeof(Header), '\0');
  append(space.data(), space.size());
}

void StoreWriter::append(const void* bytes, size_t size) {
  buffer_.append(static_cast<const char*>(bytes), size);
  offset_ += size;
  if (buffer_.size() >= kBuffer) {
    file_.write(buffer_);
    buffer_.clear();
  }
}

void StoreWriter::add(const MaskedTokens& example, int64_t source, int64_t line, bool joined) {
  const size_t count = example.tokens.size();
  StoreEntry entry;
  entry.offset = offset_;
  entry.line = static_cast<uint64_t>(line);
  entry.length = static_cast<uint32_t>(count);
  entry.source = static_cast<uint32_t>(source) & kSources;
  entry.weighted = !example.weights.empty();
  entry.joined = joined;
  append(example.tokens.data(), count * sizeof(TokenId));
  append(example.trained.data(), count);
  append("\0\0\0", padded(count) - count);
  append(example.weights.data(), example.weights.size() * sizeof(float));
  if (std::fwrite(&entry, sizeof(entry), 1, index_.get()) != 1) {
    fail("cannot write {}: {}", path_.string(), std::strerror(errno));
  }
  index_hash_.update(std::string_view(reinterpret_cast<const char*>(&entry), sizeof(entry)));
  ++examples_;
}

void StoreWriter::commit(const std::vector<StoreReport>& reports) {
  while (offset_ % alignof(StoreEntry) != 0) append("\0", 1);
  Header header;
  header.examples = examples_;
  header.index_begin = offset_;
  if (std::fflush(index_.get()) != 0)
    fail("cannot write {}: {}", path_.string(), std::strerror(errno));
  std::rewind(index_.get());
  std::string chunk(kBuffer, '\0');
  while (const size_t count = std::fread(chunk.data(), 1, chunk.size(), index_.get()))
    append(chunk.data(), count);
  if (offset_ != header.index_begin + examples_ * sizeof(StoreEntry)) {
    fail("cannot write {}: the index could not be read back", path_.string());
  }
  const std::string report = reports_to_json(reports);
  header.report_begin = offset_;
  append(report.data(), report.size());
  header.file_size = offset_;
  put(header.key, key_);
  put(header.index_hash, index_hash_.hex());
  put(header.report_hash, hash_bytes(report));
  put(header.header_hash, hash_of_header(header));
  file_.write(buffer_);
  file_.write_at(0, &header, sizeof(header));
  file_.commit();
}

StoreFile::StoreFile(const std::filesystem::path& path, const std::string& key) : file_(path) {
  const auto check = [&](bool holds, std::string_view what) {
    if (!holds) throw Error(Location{path.string()}, fmt::format("damaged cache file: {}", what));
  };
  Header header;
  check(file_.size() >= sizeof(Header), "it ends inside its header");
  std::memcpy(&header, file_.data(), sizeof(Header));
  check(header.magic == Header{}.magic, "it is something else");
  check(header.version == kStoreFileVersion && header.entry_size == sizeof(StoreEntry),
        "another version");
  check(get(header.header_hash) == hash_of_header(header), "its header is damaged");
  check(get(header.key) == key, "it belongs to other data");
  check(header.file_size == file_.size(), "its size is wrong");
  check(header.index_begin <= header.report_begin && header.report_begin <= header.file_size &&
            header.index_begin % alignof(StoreEntry) == 0 &&
            (header.report_begin - header.index_begin) == header.examples * sizeof(StoreEntry),
        "its parts do not fit");
  const std::string_view index =
      file_.text().substr(header.index_begin, header.report_begin - header.index_begin);
  const std::string_view report = file_.text().substr(header.report_begin);
  check(hash_bytes(index) == get(header.index_hash), "its index is damaged");
  check(hash_bytes(report) == get(header.report_hash), "its report is damaged");
  index_ = {reinterpret_cast<const StoreEntry*>(index.data()),
            static_cast<size_t>(header.examples)};
  reports_ = reports_from_json(report);
}

ExampleView StoreFile::example(int64_t index) const {
  const StoreEntry& at = entry(index);
  const std::byte* bytes = file_.data() + at.offset;
  const std::byte* trained = bytes + at.length * sizeof(TokenId);
  ExampleView view{{reinterpret_cast<const TokenId*>(bytes), at.length},
                   {reinterpret_cast<const uint8_t*>(trained), at.length}};
  if (at.weighted) {
    view.weights = {reinterpret_cast<const float*>(trained + padded(at.length)), at.length};
  }
  return view;
}

}  // namespace continuo
