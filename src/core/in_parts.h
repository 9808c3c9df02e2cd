// A loop over plain threads, for work of milliseconds that waits for memory. No ATen: these threads
// must not start a thread pool of their own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <future>
#include <thread>
#include <vector>

namespace continuo {

// In how many parts: one for every core, but none of fewer than `least` elements.
inline size_t count_parts(size_t count, size_t least) {
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  return std::clamp<size_t>(count / least, 1, cores);
}

// Calls body(part, begin, end) for consecutive parts of [0, count). Of the errors that parts end
// with the first part's is thrown, as of a plain loop.
template <class Body>
void in_parts(size_t count, size_t least, const Body& body) {
  const size_t parts = count_parts(count, least);
  std::vector<std::future<void>> others;
  // Where the system gives no thread a part is done when it is asked for.
  constexpr auto kPolicy = std::launch::async | std::launch::deferred;
  for (size_t part = 1; part < parts; ++part) {
    others.push_back(std::async(kPolicy, [&body, part, parts, count] {
      body(part, count * part / parts, count * (part + 1) / parts);
    }));
  }
  body(size_t{0}, size_t{0}, count / parts);
  for (std::future<void>& other : others) other.get();
}

}  // namespace continuo
