#include "text/tokenizer/hf_tokenizer_json.h"

#include <gtest/gtest.h>

#include "text/tokenizer/golden_tokenizers.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

TEST(HfTokenizerJson, GivesTheIdsOfTheModelItWasMadeOf) {
  std::mt19937 random(8);
  for (bool dummy_prefix : {false, true}) {
    test::SmallKind kind{TokenizerModel::kUnigram, dummy_prefix};
    const SentencePieceTokenizer& original = test::small_tokenizer(kind);
    test::TempDir directory;
    original.save(directory.path());
    ASSERT_TRUE(std::filesystem::exists(directory / "tokenizer.json"));
    auto copy = load_tokenizer(directory / "tokenizer.json");
    EXPECT_EQ(copy->size(), original.size());
    EXPECT_EQ(copy->eos(), original.eos());
    EXPECT_EQ(copy->has_dummy_prefix(), dummy_prefix);
    for (int i = 0; i < 500; ++i) {
      std::string text = test::random_text(random);
      // A text that opens with a space gets no dummy prefix there.
      if (!dummy_prefix || !text.starts_with(' ')) {
        ASSERT_EQ(copy->encode(text), original.encode(text)) << text;
      }
      ASSERT_EQ(copy->encode_continuation(text), original.encode_continuation(text)) << text;
    }
  }
}

}  // namespace
}  // namespace continuo
