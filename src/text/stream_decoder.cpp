#include "text/stream_decoder.h"

#include "core/utf8.h"

namespace continuo {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool continues)
    : tokenizer_(tokenizer), strip_space_(tokenizer.has_dummy_prefix() && !continues) {}

std::string StreamDecoder::push(TokenId id) {
  if (tokenizer_.is_special(id)) {
    strip_space_ = strip_space_ && id == tokenizer_.bos();
    return {};
  }
  std::string bytes = tokenizer_.token_bytes(id);
  if (strip_space_ && bytes.starts_with(' ')) bytes.erase(0, 1);
  strip_space_ = false;
  pending_ += bytes;
  size_t complete = complete_utf8_length(pending_);
  std::string text = replace_invalid_utf8(std::string_view(pending_).substr(0, complete));
  pending_.erase(0, complete);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = replace_invalid_utf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace continuo
