// Ids → text token by token, as a completion is shown while it is generated.
#pragma once

#include <span>
#include <string>

#include <gtest/gtest.h>

#include "core/text_flow.h"
#include "core/utf8.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo::test {

// `continues`: the ids follow a prompt; otherwise they open a document, whose dummy prefix is not
// shown. Every piece of the stream must be text.
inline std::string streamed(const Tokenizer& tokenizer, std::span<const TokenId> ids,
                            bool continues) {
  TextFlow flow;
  std::string text;
  bool opens = tokenizer.has_dummy_prefix() && !continues;
  for (const TokenId id : ids) {
    std::string bytes = tokenizer.token_bytes(id);
    if (opens && bytes.starts_with(' ')) bytes.erase(0, 1);
    opens = opens && id == tokenizer.bos();
    const std::string piece = flow.push(bytes);
    EXPECT_EQ(find_invalid_utf8(piece), std::nullopt);
    text += piece;
  }
  return text + flow.finish();
}

}  // namespace continuo::test
