#include "data/line_reader.h"

#include "core/error.h"

namespace continuo {
namespace {

constexpr size_t kChunk = size_t{1} << 20;
constexpr size_t kLongestLine = size_t{256} << 20;

}  // namespace

LineReader::LineReader(const std::string& path, std::string name)
    : file_(path), name_(std::move(name)) {
  fill();
  if (buffer_.starts_with("\xEF\xBB\xBF")) begin_ = 3;
  if (buffer_.starts_with("\xFF\xFE") || buffer_.starts_with("\xFE\xFF")) {
    throw Error(Location{name_, 1}, "the file is UTF-16", "convert it: iconv -f UTF-16 -t UTF-8");
  }
}

bool LineReader::fill() {
  if (end_of_file_) return false;
  buffer_.erase(0, begin_);
  begin_ = 0;
  const size_t old = buffer_.size();
  buffer_.resize(old + kChunk);
  const size_t count = file_.read(buffer_.data() + old, kChunk);
  buffer_.resize(old + count);
  end_of_file_ = count == 0;
  return !end_of_file_;
}

std::optional<std::string_view> LineReader::next() {
  size_t searched = 0;
  size_t end = 0;
  while ((end = buffer_.find('\n', begin_ + searched)) == std::string::npos) {
    searched = buffer_.size() - begin_;
    if (searched > kLongestLine) {
      throw Error(Location{name_, static_cast<int>(line_ + 1)}, "the line is longer than 256 MiB",
                  "is this JSONL, one object per line?");
    }
    if (!fill()) break;
  }
  const bool terminated = end != std::string::npos;
  if (!terminated && begin_ == buffer_.size()) return std::nullopt;
  if (!terminated) end = buffer_.size();
  std::string_view line(buffer_.data() + begin_, end - begin_);
  begin_ = terminated ? end + 1 : end;
  bytes_ += static_cast<int64_t>(line.size()) + terminated;
  ++line_;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace continuo
