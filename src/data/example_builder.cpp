#include "data/example_builder.h"

#include <algorithm>

#include "core/error.h"

namespace continuo {
namespace {

BuiltRow dropped(std::string reason) {
  BuiltRow row;
  row.dropped = std::move(reason);
  return row;
}

BuiltRow single(MaskedTokens tokens, bool truncated = false) {
  BuiltRow row;
  row.examples.push_back(std::move(tokens));
  row.truncated = truncated;
  return row;
}

template <class T>
std::vector<T> without(const std::vector<T>& values, size_t begin, size_t end) {
  std::vector<T> rest(values.begin(), values.begin() + static_cast<ptrdiff_t>(begin));
  rest.insert(rest.end(), values.begin() + static_cast<ptrdiff_t>(end), values.end());
  return rest;
}

}  // namespace

ExampleBuilder::ExampleBuilder(int64_t context, OverlongRows overlong, std::optional<TokenId> bos)
    : longest_(static_cast<size_t>(context) + 1), overlong_(overlong), bos_(bos) {
  if (context < 1) fail("the context length is {}, it must be at least 1", context);
}

BuiltRow ExampleBuilder::build(MaskedTokens tokens, bool plain_text) const {
  if (!tokens.trained.empty()) tokens.trained[0] = 0;
  // What follows the last trained token (a user turn without an answer) only costs time.
  const auto last = std::find(tokens.trained.rbegin(), tokens.trained.rend(), 1);
  const auto count = static_cast<size_t>(tokens.trained.rend() - last);
  if (count == 0) return dropped("nothing trained");
  tokens.tokens.resize(count);
  tokens.trained.resize(count);
  if (!tokens.weights.empty()) tokens.weights.resize(count);
  if (count <= longest_) return single(std::move(tokens));
  return plain_text ? cut(tokens) : fit(std::move(tokens));
}

BuiltRow ExampleBuilder::fit(MaskedTokens tokens) const {
  const size_t count = tokens.tokens.size();
  const auto first = std::find(tokens.trained.begin(), tokens.trained.end(), 1);
  const auto prompt = static_cast<size_t>(first - tokens.trained.begin());
  const size_t rest = count - prompt;
  if (overlong_ == OverlongRows::kFail) {
    BuiltRow row = dropped("overlong");
    row.overlong =
        fmt::format("the row has {} tokens (prompt {}, completion {}), the context allows {}",
                    count, prompt, rest, longest_);
    return row;
  }
  if (overlong_ == OverlongRows::kDrop) return dropped("overlong");
  // One token of the prompt must stay: it is what predicts the first token of the completion.
  if (rest + 1 > longest_) return dropped("overlong completion");
  const bool keeps_bos = bos_ && tokens.tokens[0] == *bos_;
  const size_t excess = count - longest_;
  tokens.tokens = without(tokens.tokens, keeps_bos, keeps_bos + excess);
  tokens.trained = without(tokens.trained, keeps_bos, keeps_bos + excess);
  if (!tokens.weights.empty()) {
    tokens.weights = without(tokens.weights, keeps_bos, keeps_bos + excess);
  }
  return single(std::move(tokens), /*truncated=*/true);
}

BuiltRow ExampleBuilder::cut(const MaskedTokens& tokens) const {
  BuiltRow row;
  const size_t count = tokens.tokens.size();
  const size_t stride = longest_ - 1;
  for (size_t begin = 0; begin + 1 < count; begin += stride) {
    const auto from = static_cast<ptrdiff_t>(begin);
    const auto to = static_cast<ptrdiff_t>(std::min(begin + longest_, count));
    MaskedTokens piece{{tokens.tokens.begin() + from, tokens.tokens.begin() + to},
                       {tokens.trained.begin() + from, tokens.trained.begin() + to}};
    piece.trained[0] = 0;
    if (!tokens.weights.empty()) {
      piece.weights.assign(tokens.weights.begin() + from, tokens.weights.begin() + to);
    }
    row.examples.push_back(std::move(piece));
  }
  return row;
}

}  // namespace continuo
