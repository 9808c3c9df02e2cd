#include "generate/stop_matcher.h"

#include <deque>

#include "core/error.h"

namespace continuo {

StopStrings::StopStrings(std::span<const std::string> stops) : stops_(stops.begin(), stops.end()) {
  auto add_node = [&](size_t depth) {
    Node node;
    node.next.fill(-1);
    node.depth = depth;
    nodes_.push_back(node);
    return static_cast<int32_t>(nodes_.size()) - 1;
  };
  add_node(0);
  for (size_t i = 0; i < stops_.size(); ++i) {
    if (stops_[i].empty()) fail("a stop string is empty");
    int32_t state = 0;
    for (char c : stops_[i]) {
      const auto byte = static_cast<uint8_t>(c);
      int32_t next = step(state, byte);
      if (next < 0) {
        next = add_node(depth(state) + 1);
        nodes_[static_cast<size_t>(state)].next[byte] = next;
      }
      state = next;
    }
    nodes_[static_cast<size_t>(state)].match = static_cast<int32_t>(i);
  }
  // Breadth first: a missing edge becomes the edge of the longest proper suffix; a state without a
  // match of its own takes over its suffix's.
  std::vector<int32_t> suffix(nodes_.size(), 0);
  std::deque<int32_t> queue{0};
  while (!queue.empty()) {
    const int32_t state = queue.front();
    queue.pop_front();
    Node& node = nodes_[static_cast<size_t>(state)];
    const int32_t fallback = suffix[static_cast<size_t>(state)];
    if (node.match < 0) node.match = nodes_[static_cast<size_t>(fallback)].match;
    for (size_t byte = 0; byte < 256; ++byte) {
      const int32_t through_suffix =
          state == 0 ? 0 : nodes_[static_cast<size_t>(fallback)].next[byte];
      if (node.next[byte] < 0) {
        node.next[byte] = through_suffix;
      } else {
        suffix[static_cast<size_t>(node.next[byte])] = through_suffix;
        queue.push_back(node.next[byte]);
      }
    }
  }
}

StopMatcher::Result StopMatcher::push(std::string_view bytes, bool visible) {
  for (char c : bytes) {
    state_ = stops_->step(state_, static_cast<uint8_t>(c));
    held_.push_back(c);
    visible_.push_back(visible);
    if (const int32_t index = stops_->match(state_); index >= 0) {
      const std::string& stop = stops_->stop(index);
      std::string before = release(held_.size() - stop.size());
      return {std::move(before), StopMatch{stop, released_}};
    }
  }
  return {release(held_.size() - stops_->depth(state_)), std::nullopt};
}

std::string StopMatcher::flush() { return release(held_.size()); }

std::string StopMatcher::release(size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) {
    if (visible_[i]) out.push_back(held_[i]);
  }
  held_.erase(0, count);
  visible_.erase(visible_.begin(), visible_.begin() + static_cast<long>(count));
  released_ += static_cast<int64_t>(out.size());
  return out;
}

}  // namespace continuo
