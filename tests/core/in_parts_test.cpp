#include "core/in_parts.h"

#include <numeric>

#include <gtest/gtest.h>

#include "core/error.h"

namespace continuo {
namespace {

TEST(InParts, EveryElementIsInOnePart) {
  for (const size_t count : {0, 1, 7, 100, 1001}) {
    std::vector<int> seen(count);
    std::vector<size_t> sizes(count_parts(count, 10));
    in_parts(count, 10, [&](size_t part, size_t begin, size_t end) {
      sizes[part] = end - begin;
      for (size_t i = begin; i < end; ++i) ++seen[i];
    });
    EXPECT_EQ(seen, std::vector<int>(count, 1));
    EXPECT_EQ(std::accumulate(sizes.begin(), sizes.end(), size_t{0}), count);
    for (const size_t size : sizes) EXPECT_GE(size, std::min<size_t>(count, 10));
  }
}

TEST(InParts, TheFirstErrorIsThrown) {
  try {
    in_parts(1000, 1, [](size_t, size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        if (i % 300 == 299) fail("element {}", i);
      }
    });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "element 299");
  }
}

}  // namespace
}  // namespace continuo
