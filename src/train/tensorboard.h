// TensorBoard event files, encoded by hand: scalars and texts. Knows nothing about what is
// measured. Record: u64 length | u32 masked CRC-32C of the length | data | u32 masked CRC-32C of
// the data (TFRecord). Data: a tensorflow.Event message (tensorflow/core/util/event.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/files.h"

namespace continuo {

class TensorBoardWriter {
 public:
  // Opens a new events.out.tfevents.… in `directory`, which is created. With `resume_at` readers
  // forget what older files say about steps from there on (SessionLog START, as `purge_step` of
  // PyTorch's SummaryWriter).
  explicit TensorBoardWriter(const std::filesystem::path& directory,
                             std::optional<int64_t> resume_at = {});

  // Values are stored as 32-bit floats. Error: full disk.
  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  // Shown in the Text tab as Markdown.
  void text(int64_t step, const std::string& tag, const std::string& content);

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_record(const std::string& event);

  std::filesystem::path path_;
  FileDescriptor fd_;
};

// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) and the rotation that TFRecord stores.
uint32_t crc32c(std::string_view bytes);
uint32_t masked_crc32c(std::string_view bytes);

}  // namespace continuo
