// Memory of CPU tensors. Large blocks come from segments of 2 MiB pages and go back to them, so
// that the tensors of a step take the pages of the step before: mapping, zeroing and unmapping them
// anew cost an eighth of a training step. Knows nothing of tensors: bytes in, bytes out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include <c10/core/Allocator.h>

namespace continuo {

// Best fit with splitting and merging inside segments. Small requests go to malloc. Thread-safe;
// must outlive its blocks.
class SegmentAllocator : public c10::Allocator {
 public:
  SegmentAllocator() = default;
  SegmentAllocator(const SegmentAllocator&) = delete;
  SegmentAllocator& operator=(const SegmentAllocator&) = delete;
  ~SegmentAllocator() override;

  // Aligned to 64 bytes. Throws c10::Error when the system has no more.
  c10::DataPtr allocate(size_t bytes) override;
  c10::DeleterFnPtr raw_deleter() const override;
  void copy_data(void* to, const void* from, size_t bytes) const override;

  int64_t used_bytes() const;      // in blocks that are out, without the small ones
  int64_t reserved_bytes() const;  // in segments

 private:
  struct Block;
  static void release(void* data);
  Block* take(size_t bytes);
  void give_back(Block* block);
  void add_segment(size_t bytes);
  void drop(Block* block);

  mutable std::mutex mutex_;
  std::set<std::pair<size_t, Block*>> free_;
  size_t used_ = 0, reserved_ = 0;
};

// Makes one such allocator the source of all CPU tensors from now on. Once per process, before the
// first tensor.
void install_segment_allocator();

}  // namespace continuo
