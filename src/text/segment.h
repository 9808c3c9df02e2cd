// Text with its mask, and what conversations consist of.
#pragma once

#include <string>

namespace continuo {

// A stretch of text. Trained segments count in the loss; a special one names a vocabulary entry
// ("<|user|>").
struct Segment {
  std::string text;
  bool trained = false;
  bool special = false;

  bool operator==(const Segment&) const = default;
};

struct Turn {
  std::string role;  // system, user, assistant
  std::string content;
};

}  // namespace continuo
