#include "nn/cpu/tensor_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>

namespace continuo {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSegment = size_t{64} << 20;
constexpr size_t kLarge = size_t{128} << 10;  // malloc keeps smaller blocks well by itself
constexpr size_t kSmallestRest = size_t{64} << 10;
constexpr size_t kSpare = size_t{256} << 20;  // free memory that is kept whatever is in use

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace

// Stands before the data of every block. Neighbours in a segment are found through the sizes.
struct alignas(kAlignment) SegmentAllocator::Block {
  SegmentAllocator* owner;  // nullptr: from malloc
  size_t size;              // header included
  size_t size_before;       // of the block before in the segment, 0 at its start
  bool free, last;

  std::byte* data() { return reinterpret_cast<std::byte*>(this) + sizeof(Block); }
  Block* next() {
    return last ? nullptr : reinterpret_cast<Block*>(reinterpret_cast<std::byte*>(this) + size);
  }
  Block* previous() {
    return size_before ? reinterpret_cast<Block*>(reinterpret_cast<std::byte*>(this) - size_before)
                       : nullptr;
  }
  bool whole_segment() const { return size_before == 0 && last; }
  static Block* of(void* data) {
    return reinterpret_cast<Block*>(static_cast<std::byte*>(data) - sizeof(Block));
  }
};

SegmentAllocator::~SegmentAllocator() {
  for (const auto& [size, block] : free_) {
    if (block->whole_segment()) ::munmap(block, size);
  }
}

c10::DeleterFnPtr SegmentAllocator::raw_deleter() const { return &release; }

void SegmentAllocator::copy_data(void* to, const void* from, size_t bytes) const {
  std::memcpy(to, from, bytes);
}

int64_t SegmentAllocator::used_bytes() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(used_);
}

int64_t SegmentAllocator::reserved_bytes() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(reserved_);
}

c10::DataPtr SegmentAllocator::allocate(size_t bytes) {
  const c10::Device cpu(c10::DeviceType::CPU);
  if (bytes == 0) return {nullptr, nullptr, &release, cpu};
  const size_t size = round_up(bytes + sizeof(Block), kAlignment);
  Block* block;
  if (bytes < kLarge) {
    block = static_cast<Block*>(std::aligned_alloc(kAlignment, size));
    TORCH_CHECK(block, "out of memory: ", bytes, " bytes for a tensor");
    std::construct_at(block, Block{nullptr, size, 0, false, true});
  } else {
    const std::lock_guard lock(mutex_);
    block = take(size);
  }
  return {block->data(), block->data(), &release, cpu};
}

void SegmentAllocator::release(void* data) {
  if (!data) return;
  Block* block = Block::of(data);
  if (!block->owner) {
    std::free(block);
    return;
  }
  SegmentAllocator& owner = *block->owner;
  const std::lock_guard lock(owner.mutex_);
  owner.give_back(block);
}

SegmentAllocator::Block* SegmentAllocator::take(size_t size) {
  auto found = free_.lower_bound({size, nullptr});
  if (found == free_.end()) {
    add_segment(size);
    found = free_.lower_bound({size, nullptr});
  }
  Block* block = found->second;
  free_.erase(found);
  block->free = false;
  if (block->size - size >= kSmallestRest) {
    auto* rest = reinterpret_cast<Block*>(reinterpret_cast<std::byte*>(block) + size);
    std::construct_at(rest, Block{this, block->size - size, size, true, block->last});
    if (Block* after = rest->next()) after->size_before = rest->size;
    block->size = size;
    block->last = false;
    free_.emplace(rest->size, rest);
  }
  used_ += block->size;
  return block;
}

void SegmentAllocator::give_back(Block* block) {
  used_ -= block->size;
  block->free = true;
  const auto absorb = [&](Block* first, Block* second) {
    first->size += second->size;
    first->last = second->last;
    if (Block* after = first->next()) after->size_before = first->size;
  };
  if (Block* next = block->next(); next && next->free) {
    free_.erase({next->size, next});
    absorb(block, next);
  }
  if (Block* previous = block->previous(); previous && previous->free) {
    free_.erase({previous->size, previous});
    absorb(previous, block);
    block = previous;
  }
  free_.emplace(block->size, block);
  // What a step needs again is kept; what was needed once (loading, a long prompt) goes back to the
  // system.
  if (block->whole_segment() && reserved_ - used_ > 2 * used_ + kSpare) drop(block);
}

void SegmentAllocator::add_segment(size_t size) {
  // Mapped with room to begin at a huge page; the ends that stick out go back.
  const size_t bytes = round_up(std::max(size, kSegment), kHugePage);
  void* mapped = ::mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TORCH_CHECK(mapped != MAP_FAILED, "out of memory: ", size, " bytes for a tensor");
  auto* begin =
      reinterpret_cast<std::byte*>(round_up(reinterpret_cast<uintptr_t>(mapped), kHugePage));
  const size_t before = static_cast<size_t>(begin - static_cast<std::byte*>(mapped));
  if (before > 0) ::munmap(mapped, before);
  if (before < kHugePage) ::munmap(begin + bytes, kHugePage - before);
#ifdef MADV_HUGEPAGE
  ::madvise(begin, bytes, MADV_HUGEPAGE);
#endif
  auto* block = reinterpret_cast<Block*>(begin);
  std::construct_at(block, Block{this, bytes, 0, true, true});
  free_.emplace(bytes, block);
  reserved_ += bytes;
}

void SegmentAllocator::drop(Block* block) {
  free_.erase({block->size, block});
  reserved_ -= block->size;
  ::munmap(block, block->size);
}

void install_segment_allocator() {
  // Never destroyed: tensors of static objects outlive main.
  static auto* allocator = new SegmentAllocator;
  c10::SetCPUAllocator(allocator, 1);
}

}  // namespace continuo
