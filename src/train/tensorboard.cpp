#include "train/tensorboard.h"

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "core/error.h"

namespace continuo {
namespace {

// A protocol buffer message under construction; fields are written in any order.
class Message {
 public:
  Message& varint(int field, uint64_t value) {
    tag(field, 0);
    raw_varint(value);
    return *this;
  }
  Message& fixed64(int field, double value) {
    tag(field, 1);
    raw(std::bit_cast<uint64_t>(value), 8);
    return *this;
  }
  Message& fixed32(int field, float value) {
    tag(field, 5);
    raw(std::bit_cast<uint32_t>(value), 4);
    return *this;
  }
  Message& bytes(int field, std::string_view value) {
    tag(field, 2);
    raw_varint(value.size());
    data_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return bytes(field, value.data_); }

  const std::string& data() const { return data_; }

 private:
  void tag(int field, int wire_type) { raw_varint(static_cast<uint64_t>(field << 3 | wire_type)); }
  void raw_varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) data_ += static_cast<char>(value | 0x80);
    data_ += static_cast<char>(value);
  }
  void raw(uint64_t value, int size) {
    for (int i = 0; i < size; ++i) data_ += static_cast<char>(value >> (8 * i));
  }

  std::string data_;
};

Message event(std::optional<int64_t> step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  Message message;
  message.fixed64(1, std::chrono::duration<double>(now).count());
  if (step) message.varint(2, static_cast<uint64_t>(*step));
  return message;
}

std::string little_endian(uint64_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
    table[i] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kCrcTable = make_crc_table();

}  // namespace

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& directory,
                                     std::optional<int64_t> resume_at) {
  make_directories(directory);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  // Readers order the files of a run by name, so the counter has a fixed width.
  for (int count = 0; fd_.get() < 0; ++count) {
    path_ = directory / fmt::format("events.out.tfevents.{:010}.{}.{}.{:03}", seconds, host_name(),
                                    getpid(), count);
    fd_ = FileDescriptor(
        ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666));
    if (fd_.get() < 0 && errno != EEXIST)
      fail("cannot create {}: {}", path_.string(), std::strerror(errno));
  }
  write_record(event({}).bytes(3, "brain.Event:2").data());
  if (resume_at) {
    constexpr uint64_t kStart = 1;
    write_record(event(resume_at).message(7, Message().varint(1, kStart)).data());
  }
}

void TensorBoardWriter::scalars(int64_t step,
                                const std::vector<std::pair<std::string, double>>& values) {
  Message summary;
  for (const auto& [tag, value] : values) {
    summary.message(1, Message().bytes(1, tag).fixed32(2, static_cast<float>(value)));
  }
  write_record(event(step).message(5, summary).data());
}

void TensorBoardWriter::text(int64_t step, const std::string& tag, const std::string& content) {
  constexpr uint64_t kString = 7;
  const Message plugin = Message().bytes(1, "text");
  const Message shape = Message().message(2, Message().varint(1, 1));
  const Message tensor = Message().varint(1, kString).message(2, shape).bytes(8, content);
  const Message value =
      Message().bytes(1, tag).message(8, tensor).message(9, Message().message(1, plugin));
  write_record(event(step).message(5, Message().message(1, value)).data());
}

void TensorBoardWriter::write_record(const std::string& data) {
  const std::string length = little_endian(data.size(), 8);
  const std::string record = length + little_endian(masked_crc32c(length), 4) + data +
                             little_endian(masked_crc32c(data), 4);
  std::string_view rest = record;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd_.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
    rest.remove_prefix(static_cast<size_t>(written));
  }
}

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffffU;
  for (char byte : bytes) crc = kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff] ^ crc >> 8;
  return crc ^ 0xffffffffU;
}

uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8U;
}

}  // namespace continuo
