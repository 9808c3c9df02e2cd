#include "io/torch_file.h"

#include <algorithm>
#include <bit>
#include <string_view>

#include <ATen/ops/empty.h>

#include "core/error.h"
#include "core/mapped_file.h"
#include "io/mapped_tensor.h"
#include "io/stored_zip.h"

namespace continuo {

static_assert(std::endian::native == std::endian::little, "big-endian files are refused");

namespace {

constexpr std::string_view kPickle = "data.pkl";
// torch.save before 1.6 begins with a pickle of the integer 0x1950a86a20f9469cfc6c.
constexpr std::string_view kOldMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
                                     14);
constexpr int64_t kMaxPickle = 256 << 20;
// How much the bytes that are copied or looked through may exceed the file.
constexpr int64_t kWorkSlack = 64 << 20;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Everything in the archive stands under the name that it was first saved with.
std::string find_prefix(const ZipEntries& entries, const std::string& file) {
  std::string prefix;
  int found = 0;
  for (const auto& entry : entries) {
    const std::string& name = entry.first;
    const size_t slash = name.find('/');
    if (slash != name.npos && std::string_view(name).substr(slash + 1) == kPickle) {
      prefix = name.substr(0, slash + 1);
      ++found;
    }
  }
  if (found != 1) {
    throw Error(file + ": a zip archive, but not one of torch.save", "name a file of torch.save");
  }
  return prefix;
}

void check_byte_order(const ZipEntries& entries, const std::string& prefix,
                      const std::string& file) {
  const auto order = entries.find(prefix + "byteorder");
  if (order != entries.end() && text_of(order->second) != "little") {
    fail("{}: was saved on a big-endian machine, which is not supported", file);
  }
}

[[noreturn]] void fail_format(std::string_view text, const std::string& file) {
  if (text.starts_with("version https://git-lfs")) {
    throw Error(file + ": a Git LFS pointer instead of the weights", "run `git lfs pull` there");
  }
  if (text.starts_with(kOldMagic)) {
    throw Error(file + ": the format of torch before 1.6 is not supported",
                fmt::format("convert it: python -c \"import torch; p = '{}'; "
                            "torch.save(torch.load(p, weights_only=True), p)\"",
                            file));
  }
  fail("{}: not a file of torch.save: it is no zip archive", file);
}

}  // namespace

struct TorchFile::Mapping {
  explicit Mapping(const std::filesystem::path& where);

  void check_storages() const;
  // The first element. Only for tensors that have one.
  const std::byte* first(const TorchTensorInfo& info) const {
    return entries.find(prefix + "data/" + info.storage)->second.data() + info.begin;
  }
  bool aligned(const TorchTensorInfo& info) const {
    return reinterpret_cast<uintptr_t>(first(info)) % c10::elementSize(info.dtype) == 0;
  }

  std::filesystem::path path;
  // Private: optimizers may update loaded weights in place without touching the file.
  std::shared_ptr<MappedFile> file;
  ZipEntries entries;
  std::string prefix;  // "archive/"
  std::map<std::string, TorchTensorInfo> tensors;
};

TorchFile::Mapping::Mapping(const std::filesystem::path& where)
    : path(where), file(std::make_shared<MappedFile>(where, MappedFile::Mode::kPrivate)) {
  const std::string name = path.string();
  if (!looks_like_zip(file->bytes())) fail_format(file->text(), name);
  entries = read_stored_zip(file->bytes(), name);
  prefix = find_prefix(entries, name);
  check_byte_order(entries, prefix, name);
  const auto pickle = entries.find(prefix + std::string(kPickle))->second;
  if (static_cast<int64_t>(pickle.size()) > kMaxPickle) {
    fail("{}: {} has {} bytes, at most {} are allowed", name, kPickle, pickle.size(), kMaxPickle);
  }
  tensors = read_torch_state_dict(pickle, name);
  check_storages();
}

void TorchFile::Mapping::check_storages() const {
  const auto file_bytes = static_cast<int64_t>(file->size());
  int64_t work = 0;
  for (const auto& [name, info] : tensors) {
    if (info.bytes == 0) continue;  // nothing is needed of an empty storage
    const auto found = entries.find(prefix + "data/" + info.storage);
    if (found == entries.end()) {
      fail("{}: tensor '{}' lies in the storage '{}', which is not in the file", path.string(),
           name, info.storage);
    }
    if (static_cast<int64_t>(found->second.size()) < info.storage_bytes) {
      fail("{}: tensor '{}' needs a storage of {} bytes, '{}' has {}", path.string(), name,
           info.storage_bytes, info.storage, found->second.size());
    }
    // Zero strides and shared storages let a few bytes describe any number of them.
    if (info.contiguous && aligned(info) && info.dtype != at::kBool) continue;
    if (__builtin_add_overflow(work, std::max(info.bytes, info.reach), &work) ||
        work > file_bytes + kWorkSlack) {
      fail("{}: tensor '{}' repeats its storage beyond reason", path.string(), name);
    }
  }
}

TorchFile::TorchFile(const std::filesystem::path& path)
    : mapping_(std::make_shared<Mapping>(path)) {}

const std::map<std::string, TorchTensorInfo>& TorchFile::tensors() const {
  return mapping_->tensors;
}

const std::filesystem::path& TorchFile::path() const { return mapping_->path; }

const TorchTensorInfo& TorchFile::info(const std::string& name) const {
  const auto found = tensors().find(name);
  if (found == tensors().end()) fail("{}: no tensor named '{}'", path().string(), name);
  return found->second;
}

at::Tensor TorchFile::tensor(const std::string& name) const {
  const TorchTensorInfo& found = info(name);
  if (found.bytes == 0) return at::empty(found.shape, found.dtype);
  const std::byte* const begin = mapping_->first(found);
  // Any other byte in a bool is undefined behaviour in every kernel that reads it.
  if (found.dtype == at::kBool &&
      std::any_of(begin, begin + found.reach, [](std::byte byte) { return byte > std::byte{1}; })) {
    fail("{}: tensor '{}' is bool but holds bytes other than 0 and 1", path().string(), name);
  }
  const std::shared_ptr<MappedFile>& file = mapping_->file;
  const int64_t at = begin - file->data();
  if (found.contiguous) return mapped_tensor(file, at, found.shape, found.dtype);
  const auto width = static_cast<int64_t>(c10::elementSize(found.dtype));
  return mapped_tensor(file, at, {found.reach / width}, found.dtype)
      .as_strided(found.shape, found.strides)
      .clone(at::MemoryFormat::Contiguous);
}

StoredTensor TorchFile::stored(const std::string& name) const {
  const TorchTensorInfo& found = info(name);
  StoredTensor stored = {.shape = found.shape,
                         .whole = [file = *this, name] { return file.tensor(name); },
                         .rows = {}};
  if (found.contiguous && found.bytes > 0) {
    stored.rows = passing_rows(mapping_->file, mapping_->first(found) - mapping_->file->data(),
                               found.shape, found.dtype);
  } else {
    stored.rows = rows_of_whole(stored.whole, found.shape.empty() ? 0 : found.shape[0]);
  }
  return stored;
}

}  // namespace continuo
