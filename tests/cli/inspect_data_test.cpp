#include "cli/inspect_data.h"

#include <gtest/gtest.h>

#include "support/data_fixture.h"

namespace continuo {
namespace {

std::string shown(const std::string& prompt, const std::string& completion, bool colour,
                  bool dummy_prefix = false) {
  const test::ByteTokenizer tokenizer(dummy_prefix);
  const PromptTemplate prompt_template = test::record_template(true);
  const Fields fields = {{"q", prompt}, {"a", completion}};
  const MaskedTokens tokens =
      encode_training(tokenizer, prompt_template, prompt_template.render(fields));
  return show_example({tokens.tokens, tokens.trained}, tokenizer, colour);
}

TEST(ShowExample, MarksAndColours) {
  EXPECT_EQ(shown("ask", "yes", false), "<s>ask>⟦yes</s>⟧");
  EXPECT_EQ(shown("ask", "yes", false, true), "<s>ask>⟦yes</s>⟧")
      << "the tokenizer's own space is not shown";
  EXPECT_EQ(shown("ask", "yes", true),
            "\x1b[2m<s>\x1b[0mask>\x1b[32myes\x1b[0m\x1b[32m\x1b[2m</s>\x1b[0m");
}

TEST(ShowExample, InvisibleThingsAreVisible) {
  EXPECT_EQ(shown("a\nb\t", "é\x01\xFF", false), "<s>a↵\nb⇥>⟦é\\x01\\xff</s>⟧");
}

TEST(DataReport, SaysWhatHappened) {
  const test::TempDir dir;
  DataConfig config = test::data_config(
      dir, {dir.write("rows.jsonl", test::record("a", "b") + "oops\n" +
                                        test::record("abcdefghijkl", "c") +
                                        test::record("ccc", std::string(90, 'd')))});
  config.faulty_rows = FaultyRows::kDrop;
  config.overlong = OverlongRows::kTruncatePromptLeft;
  config.train[0].weight = 0.5;
  const auto store = test::open_store(config, 9);
  const std::string text = data_report(*store, test::ByteTokenizer(), 1, false);
  for (const char* part :
       {"rows          4 read, 2 kept", "weight 0.5", "dropped       1 (25.0 %): bad JSON",
        "dropped       1 (25.0 %): overlong completion", "truncated     1 (25.0 %)",
        "tokens        14, trained 4 (28.6 %)", "end trained   100.0 %",
        "min 4, median 4, p95 10, max 10", "█", "rows.jsonl:1: 4 tokens, 2 trained", "a>⟦b</s>⟧"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\nin\n" << text;
  }
  EXPECT_EQ(text.find("c</s>"), std::string::npos) << "one example was asked for";
}

}  // namespace
}  // namespace continuo
