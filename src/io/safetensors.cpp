#include "io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"
#include "io/mapped_tensor.h"
#include "io/output_file.h"
#include "io/safetensors_header.h"

namespace continuo {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

namespace {

constexpr int64_t kLengthBytes = 8;

}  // namespace

struct SafetensorsFile::Mapping {
  explicit Mapping(const std::filesystem::path& path);

  std::filesystem::path path;
  // Private: optimizers may update loaded weights in place without touching the file.
  std::shared_ptr<MappedFile> file;
  int64_t data_begin = 0;
  SafetensorsHeader header;
};

SafetensorsFile::Mapping::Mapping(const std::filesystem::path& where)
    : path(where), file(std::make_shared<MappedFile>(where, MappedFile::Mode::kPrivate)) {
  const std::string name = path.string();
  const auto size = static_cast<int64_t>(file->size());
  if (size < kLengthBytes) {
    fail("{}: the file is truncated: {} bytes are too few for safetensors", name, size);
  }
  if (file->text().starts_with("version https://git-lfs")) {
    throw Error(name + ": a Git LFS pointer instead of the weights", "run `git lfs pull` there");
  }
  uint64_t length = 0;
  std::memcpy(&length, file->data(), kLengthBytes);
  if (length > static_cast<uint64_t>(kMaxSafetensorsHeader)) {
    fail("{}: not a safetensors file: its header would have {} bytes, at most {} are allowed", name,
         length, kMaxSafetensorsHeader);
  }
  data_begin = kLengthBytes + static_cast<int64_t>(length);
  if (data_begin > size) {
    fail("{}: the file is truncated: the header has {} bytes, the file {}", name, length, size);
  }
  header =
      parse_safetensors_header(file->text().substr(kLengthBytes, length), size - data_begin, name);
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : mapping_(std::make_shared<Mapping>(path)) {}

const std::map<std::string, TensorInfo>& SafetensorsFile::tensors() const {
  return mapping_->header.tensors;
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return mapping_->header.metadata;
}

const std::filesystem::path& SafetensorsFile::path() const { return mapping_->path; }

int64_t SafetensorsFile::data_begin() const { return mapping_->data_begin; }

const TensorInfo& SafetensorsFile::info(const std::string& name) const {
  const auto found = tensors().find(name);
  if (found == tensors().end()) fail("{}: no tensor named '{}'", path().string(), name);
  return found->second;
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const TensorInfo& found = info(name);
  const std::byte* const begin = mapping_->file->data() + mapping_->data_begin + found.begin;
  // Any other byte in a bool is undefined behaviour in every kernel that reads it.
  if (found.dtype == at::kBool && std::any_of(begin, begin + (found.end - found.begin),
                                              [](std::byte byte) { return byte > std::byte{1}; })) {
    fail("{}: tensor '{}' is BOOL but holds bytes other than 0 and 1", path().string(), name);
  }
  return mapped_tensor(mapping_->file, mapping_->data_begin + found.begin, found.shape,
                       found.dtype);
}

StoredTensor SafetensorsFile::stored(const std::string& name) const {
  const TensorInfo& found = info(name);
  const int64_t first = mapping_->data_begin + found.begin;
  return {.shape = found.shape,
          .whole = [file = mapping_->file, first, shape = found.shape,
                    dtype = found.dtype] { return mapped_tensor(file, first, shape, dtype); },
          .rows = passing_rows(mapping_->file, first, found.shape, found.dtype)};
}

std::map<std::string, at::Tensor> SafetensorsFile::all() const {
  std::map<std::string, at::Tensor> all;
  for (const auto& [name, info] : tensors()) all.emplace(name, tensor(name));
  return all;
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorOutline> outlines;
  std::map<std::string_view, const at::Tensor*> by_name;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) fail("{}: tensor '{}' is not defined", path.string(), name);
    outlines.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
    by_name[name] = &tensor;
  }
  const auto layout = safetensors_layout(std::move(outlines), path.string());
  const std::string header = encode_safetensors_header(layout, metadata);
  const uint64_t length = header.size();

  OutputFile file(path);
  file.write(&length, kLengthBytes);
  file.write(header);
  for (const auto& [name, info] : layout) {
    const at::Tensor flat = by_name.at(name)->detach().cpu().contiguous();
    file.write(flat.const_data_ptr(), flat.nbytes());
  }
  file.close();
}

}  // namespace continuo
