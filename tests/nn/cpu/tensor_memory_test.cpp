#include "nn/cpu/tensor_memory.h"

#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace continuo {
namespace {

constexpr size_t kMegabyte = 1 << 20;

TEST(SegmentAllocator, BlocksKeepWhatIsWrittenAndNeverOverlap) {
  SegmentAllocator allocator;
  std::mt19937 random(7);
  struct Held {
    c10::DataPtr data;
    size_t bytes;
    unsigned char mark;
  };
  std::vector<Held> held;
  for (int round = 0; round < 2000; ++round) {
    if (held.size() > 20 || (!held.empty() && random() % 2)) {
      const size_t i = random() % held.size();
      const auto* p = static_cast<const unsigned char*>(held[i].data.get());
      ASSERT_EQ(p[0], held[i].mark);
      ASSERT_EQ(p[held[i].bytes / 2], held[i].mark);
      ASSERT_EQ(p[held[i].bytes - 1], held[i].mark);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    }
    const size_t bytes = 1 + random() % (random() % 4 ? 300000 : 5 * kMegabyte);
    Held h{allocator.allocate(bytes), bytes, static_cast<unsigned char>(random())};
    ASSERT_EQ(reinterpret_cast<uintptr_t>(h.data.get()) % 64, 0u);
    std::memset(h.data.get(), h.mark, bytes);
    held.push_back(std::move(h));
  }
  held.clear();
  EXPECT_EQ(allocator.used_bytes(), 0);
}

TEST(SegmentAllocator, AStepTakesTheMemoryOfTheStepBefore) {
  SegmentAllocator allocator;
  int64_t reserved = 0;
  for (int step = 0; step < 5; ++step) {
    std::vector<c10::DataPtr> tensors;
    for (size_t i = 1; i <= 40; ++i)
      tensors.push_back(allocator.allocate(i * 200000 + static_cast<size_t>(step) * 640));
    if (step == 0) reserved = allocator.reserved_bytes();
    EXPECT_LE(allocator.reserved_bytes(), reserved + static_cast<int64_t>(64 * kMegabyte));
  }
}

TEST(SegmentAllocator, NeighboursThatAreFreeBecomeOne) {
  SegmentAllocator allocator;
  std::vector<c10::DataPtr> blocks;
  for (int i = 0; i < 30; ++i) blocks.push_back(allocator.allocate(2 * kMegabyte));
  const int64_t reserved = allocator.reserved_bytes();
  for (size_t i = 0; i < blocks.size(); i += 2) blocks[i] = {};
  for (size_t i = 1; i < blocks.size(); i += 2) blocks[i] = {};
  const c10::DataPtr large = allocator.allocate(58 * kMegabyte);
  EXPECT_EQ(allocator.reserved_bytes(), reserved);
}

TEST(SegmentAllocator, WhatWasNeededOnceGoesBack) {
  SegmentAllocator allocator;
  const c10::DataPtr small = allocator.allocate(kMegabyte);
  {
    const c10::DataPtr large = allocator.allocate(600 * kMegabyte);
  }
  EXPECT_LT(allocator.reserved_bytes(), static_cast<int64_t>(100 * kMegabyte));
}

TEST(SegmentAllocator, ServesRawPointersAndNoBytes) {
  SegmentAllocator allocator;
  EXPECT_EQ(allocator.allocate(0).get(), nullptr);
  void* raw = allocator.raw_allocate(3 * kMegabyte);
  ASSERT_NE(raw, nullptr);
  allocator.raw_deallocate(raw);
  EXPECT_EQ(allocator.used_bytes(), 0);
}

}  // namespace
}  // namespace continuo
