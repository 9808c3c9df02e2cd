// The tokens of a row → examples: drops what cannot be trained, treats rows that exceed the
// context, cuts plain text into pieces. A pure function of its input; knows no files.
//
// Lengths: the last token of a document is never fed, so n tokens are n-1 positions, and n-1 ≤
// context.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/data_config.h"
#include "text/prompt/prompt_template.h"

namespace continuo {

struct BuiltRow {
  std::vector<MaskedTokens> examples;  // trained[0] is always 0: nothing predicts a first token
  std::string dropped;                 // reason, when there are no examples
  std::string overlong;                // the message for OverlongRows::kFail
  bool truncated = false;
  bool grouped = false;  // the examples belong together: no step and no batch parts them
};

class ExampleBuilder {
 public:
  // `bos`, where a row opens with it, is not cut off with the left of a prompt. Error: context < 1.
  ExampleBuilder(int64_t context, OverlongRows overlong, std::optional<TokenId> bos);

  // Thread-safe. `plain_text`: pieces of `context` positions; each piece opens with the last token
  // of the one before, so that every token but the very first is trained exactly once.
  BuiltRow build(MaskedTokens tokens, bool plain_text) const;

 private:
  BuiltRow fit(MaskedTokens tokens) const;
  BuiltRow cut(const MaskedTokens& tokens) const;

  size_t longest_;  // tokens of the longest document
  OverlongRows overlong_;
  std::optional<TokenId> bos_;
};

}  // namespace continuo
