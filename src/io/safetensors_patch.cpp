#include "io/safetensors_patch.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "core/error.h"
#include "core/system_error.h"
#include "io/output_file.h"
#include "io/safetensors.h"

namespace continuo {

void create_safetensors(const std::filesystem::path& path,
                        const std::vector<TensorOutline>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  const auto layout = safetensors_layout(tensors, path.string());
  const std::string header = encode_safetensors_header(layout, metadata);
  const uint64_t length = header.size();
  OutputFile file(path);
  file.write(&length, sizeof length);
  file.write(header);
  file.close();
  const int64_t data = layout.empty() ? 0 : layout.back().second.end;
  const auto size = static_cast<off_t>(sizeof length + length) + data;
  if (::truncate(path.c_str(), size) != 0) throw system_error("make room in", path, errno);
}

SafetensorsPatch::SafetensorsPatch(std::filesystem::path path)
    : path_(std::move(path)), fd_(::open(path_.c_str(), O_WRONLY | O_CLOEXEC)) {
  if (fd_.get() < 0) throw system_error("open", path_, errno);
  const SafetensorsFile file(path_);
  tensors_ = file.tensors();
  data_begin_ = file.data_begin();
}

void SafetensorsPatch::write(const std::string& tensor, int64_t first, const at::Tensor& values) {
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end()) fail("{}: no tensor named '{}'", path_.string(), tensor);
  const auto& [dtype, shape, begin, end] = found->second;
  const auto width = static_cast<int64_t>(values.element_size());
  const int64_t at = begin + first * width;
  const at::Tensor flat = values.contiguous();
  auto left = static_cast<int64_t>(flat.nbytes());
  if (values.scalar_type() != dtype || first < 0 || at + left > end) {
    fail("{}: elements {} to {} do not fit into '{}'", path_.string(), first,
         first + values.numel(), tensor);
  }
  const char* bytes = static_cast<const char*>(flat.const_data_ptr());
  for (int64_t offset = data_begin_ + at; left > 0;) {
    const ssize_t count = ::pwrite(fd_.get(), bytes, static_cast<size_t>(left), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw system_error("write", path_, errno);
    bytes += count;
    offset += count;
    left -= count;
  }
}

void SafetensorsPatch::close() {
  if (::fsync(fd_.get()) != 0) throw system_error("flush to disk", path_, errno);
  if (::close(fd_.release()) != 0) throw system_error("close", path_, errno);
}

}  // namespace continuo
