#include "text/tokenizer/added_tokens.h"

#include <algorithm>

#include "text/tokenizer/code_points.h"

namespace continuo {
namespace {

size_t trimmed_end(std::string_view text) {
  while (!text.empty()) {
    CodePoint point = last_code_point(text);
    if (!is_white_space(point.value)) break;
    text.remove_suffix(point.length);
  }
  return text.size();
}

size_t leading_spaces(std::string_view text) {
  size_t count = 0;
  while (count < text.size()) {
    CodePoint point = first_code_point(text.substr(count));
    if (!is_white_space(point.value)) break;
    count += point.length;
  }
  return count;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), starts_(256) {
  std::ranges::stable_sort(tokens_, {}, &AddedToken::text);
  auto repeated = std::ranges::unique(tokens_, {}, &AddedToken::text);
  tokens_.erase(repeated.begin(), repeated.end());
  for (const AddedToken& token : tokens_) starts_[static_cast<uint8_t>(token.text[0])] = true;
}

// Narrows the sorted tokens byte by byte.
const AddedToken* AddedTokenMatcher::longest_at(std::string_view text, size_t at) const {
  const AddedToken* found = nullptr;
  auto low = tokens_.begin(), high = tokens_.end();
  for (size_t depth = 0; at + depth < text.size() && low != high; ++depth) {
    auto byte_at = [depth](const AddedToken& token) {
      return depth < token.text.size() ? static_cast<uint8_t>(token.text[depth]) : -1;
    };
    int byte = static_cast<uint8_t>(text[at + depth]);
    auto range = std::ranges::equal_range(low, high, byte, {}, byte_at);
    low = range.begin(), high = range.end();
    if (low != high && low->text.size() == depth + 1) found = &*low;
  }
  return found;
}

std::vector<AddedTokenMatcher::Piece> AddedTokenMatcher::split(std::string_view text,
                                                               bool specials) const {
  std::vector<Piece> pieces;
  size_t done = 0;
  for (size_t at = 0; at < text.size() && !tokens_.empty();) {
    const AddedToken* token =
        starts_[static_cast<uint8_t>(text[at])] ? longest_at(text, at) : nullptr;
    if (!token) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + token->text.size();
    at = end;
    if (token->special && !specials) continue;
    if (token->single_word) {
      bool joined = (begin > 0 && is_word(last_code_point(text.substr(0, begin)).value)) ||
                    (end < text.size() && is_word(first_code_point(text.substr(end)).value));
      if (joined) continue;
    }
    if (token->lstrip) begin = std::max(trimmed_end(text.substr(0, begin)), done);
    if (token->rstrip) end += leading_spaces(text.substr(end));
    if (done < begin) pieces.push_back({text.substr(done, begin - done), {}});
    pieces.push_back({{}, token->id});
    done = end;
  }
  if (done < text.size()) pieces.push_back({text.substr(done), {}});
  return pieces;
}

}  // namespace continuo
