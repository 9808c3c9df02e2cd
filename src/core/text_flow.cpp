#include "core/text_flow.h"

#include <utility>

#include "core/utf8.h"

namespace continuo {

std::string TextFlow::push(std::string_view bytes) {
  pending_ += bytes;
  const size_t complete = complete_utf8_length(pending_);
  std::string text = replace_invalid_utf8(std::string_view(pending_).substr(0, complete));
  pending_.erase(0, complete);
  return text;
}

std::string TextFlow::finish() {
  return replace_invalid_utf8(std::exchange(pending_, std::string()));
}

}  // namespace continuo
