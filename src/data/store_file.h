// The file behind an ExampleStore: a header, the examples one after another, an index, a report.
// Written as a stream with flat memory, opened by mapping. Knows nothing about where examples come
// from.
//
//   header (256 bytes) | per example: tokens [n] int32, trained [n] uint8, zeros to a multiple of
//   4, weights [n] float32 where there are any | index | report
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/hash.h"
#include "core/mapped_file.h"
#include "data/example.h"
#include "data/store_report.h"
#include "text/prompt/prompt_template.h"

namespace continuo {

// Part of every store's key: raise it when the bytes of a store or the meaning of a row change.
inline constexpr uint32_t kStoreVersion = 1;
// Of the file alone: raise it when its bytes change, or when rows have to be read again.
inline constexpr uint32_t kStoreFileVersion = 2;

struct StoreEntry {
  uint64_t offset = 0;  // of the tokens in the file
  uint64_t line = 0;
  uint32_t length = 0;
  uint32_t source : 24 = 0;
  uint32_t weighted : 1 = 0;  // it has weights
  uint32_t joined : 1 = 0;    // it belongs to the group of the example before it
};

class StoreWriter {
 public:
  // `key`: 32 hex digits.
  StoreWriter(const std::filesystem::path& path, std::string key);

  // `joined`: in the group of the example before, which is of the same row.
  void add(const MaskedTokens& example, int64_t source, int64_t line, bool joined = false);
  // Makes the file appear under its name. Without it nothing is left.
  void commit(const std::vector<StoreReport>& reports);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void append(const void* bytes, size_t size);

  std::filesystem::path path_;
  std::string key_;
  AtomicFile file_;
  // Index entries wait in an unnamed file of the same directory: they follow the examples, whose
  // number is not known.
  std::unique_ptr<std::FILE, Close> index_;
  Hasher index_hash_;
  std::string buffer_;
  uint64_t offset_ = 0, examples_ = 0;
};

class StoreFile {
 public:
  // Error saying what is wrong: truncated, foreign, another version or key, damaged header, index
  // or report. The examples themselves are covered by the file's size alone: checking them would
  // read the whole file.
  StoreFile(const std::filesystem::path& path, const std::string& key);

  int64_t size() const { return static_cast<int64_t>(index_.size()); }
  const StoreEntry& entry(int64_t index) const { return index_[static_cast<size_t>(index)]; }
  ExampleView example(int64_t index) const;
  const std::vector<StoreReport>& reports() const { return reports_; }  // one per source

 private:
  MappedFile file_;
  std::span<const StoreEntry> index_;
  std::vector<StoreReport> reports_;
};

}  // namespace continuo
