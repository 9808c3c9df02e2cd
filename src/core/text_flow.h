// Bytes of a completion as they come → valid UTF-8 text, never half a code point.
#pragma once

#include <string>
#include <string_view>

namespace continuo {

class TextFlow {
 public:
  // The text that is complete with these bytes; ill-formed bytes become U+FFFD.
  std::string push(std::string_view bytes);
  // What was left: an incomplete code point becomes one U+FFFD.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace continuo
