#include "text/tokenizer/bpe_model.h"

#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace continuo {
namespace {

std::vector<TokenId> bpe_ids(const BpeModel& model, std::string_view word) {
  std::vector<TokenId> ids;
  model.encode(word, ids);
  return ids;
}

// a b c d, and random merges on top of them.
BpeVocabulary random_vocabulary(std::mt19937& random) {
  BpeVocabulary vocabulary{.symbols = {"a", "b", "c", "d"}, .merges = {}};
  std::map<std::string, TokenId> known = {{"a", 0}, {"b", 1}, {"c", 2}, {"d", 3}};
  for (int i = 0; i < 60; ++i) {
    auto left = static_cast<TokenId>(random() % vocabulary.symbols.size());
    auto right = static_cast<TokenId>(random() % vocabulary.symbols.size());
    std::string text = vocabulary.symbols[static_cast<size_t>(left)] +
                       vocabulary.symbols[static_cast<size_t>(right)];
    if (text.size() > 12) continue;
    auto [place, fresh] = known.emplace(text, static_cast<TokenId>(vocabulary.symbols.size()));
    if (fresh) vocabulary.symbols.push_back(text);
    vocabulary.merges.push_back({left, right, place->second});
  }
  return vocabulary;
}

// The definition: the pair of lowest rank merges first, leftmost among equals.
std::vector<TokenId> naive_bpe(const BpeVocabulary& vocabulary, std::string_view word) {
  std::vector<TokenId> ids;
  for (char c : word) ids.push_back(c - 'a');
  for (;;) {
    size_t best_rank = vocabulary.merges.size(), best = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      for (size_t rank = vocabulary.merges.size(); rank-- > 0;) {
        const auto& merge = vocabulary.merges[rank];
        if (merge.left != ids[i] || merge.right != ids[i + 1]) continue;
        if (rank < best_rank) best_rank = rank, best = i;
        break;  // of equal pairs the last counts
      }
    }
    if (best_rank == vocabulary.merges.size()) return ids;
    ids[best] = vocabulary.merges[best_rank].merged;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(BpeModel, AgreesWithTheDefinitionForShortAndLongWords) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    BpeVocabulary vocabulary = random_vocabulary(random);
    BpeModel model(vocabulary);
    for (int i = 0; i < 60; ++i) {
      std::string word;
      for (size_t n = i % 3 == 0 ? 41 + random() % 80 : random() % 41; n > 0; --n) {
        word += static_cast<char>('a' + random() % (i % 2 ? 4 : 2));
      }
      auto expected = naive_bpe(vocabulary, word);
      ASSERT_EQ(bpe_ids(model, word), expected) << word;
      ASSERT_EQ(bpe_ids(model, word), expected) << "from the cache: " << word;
    }
  }
}

TEST(BpeModel, UnknownCharacters) {
  BpeVocabulary vocabulary{.symbols = {"<unk>", "a", "b"}, .merges = {}};
  EXPECT_EQ(bpe_ids(BpeModel(vocabulary), "a\u00e9b"), (std::vector<TokenId>{1, 2}));
  vocabulary.unknown = 0;
  EXPECT_EQ(bpe_ids(BpeModel(vocabulary), "a\u00e9xb"), (std::vector<TokenId>{1, 0, 0, 2}));
  vocabulary.fuse_unknown = true;
  EXPECT_EQ(bpe_ids(BpeModel(vocabulary), "a\u00e9xbx"), (std::vector<TokenId>{1, 0, 2, 0}));
}

TEST(BpeModel, BytesStandForUnknownCharactersWhereAllAreThere) {
  BpeVocabulary vocabulary{.symbols = {"<unk>", "a"}, .merges = {}};
  vocabulary.unknown = 0;
  vocabulary.byte_ids.assign(256, -1);
  for (int byte : {0xC3, 0xA9}) {
    vocabulary.byte_ids[static_cast<size_t>(byte)] =
        static_cast<TokenId>(vocabulary.symbols.size());
    vocabulary.symbols.push_back("");
  }
  BpeModel model(vocabulary);
  EXPECT_EQ(bpe_ids(model, "a\u00e9"), (std::vector<TokenId>{1, 2, 3}));
  EXPECT_EQ(bpe_ids(model, "\u00e8"), std::vector<TokenId>{0});
  EXPECT_EQ(model.byte_id(0xA9), 3);
  EXPECT_EQ(model.byte_id('a'), std::nullopt);
}

TEST(BpeModel, IgnoreMergesTakesAWholeWord) {
  BpeVocabulary vocabulary{.symbols = {"a", "b", "c", "abc"}, .merges = {}};
  EXPECT_EQ(bpe_ids(BpeModel(vocabulary), "abc"), (std::vector<TokenId>{0, 1, 2}));
  vocabulary.ignore_merges = true;
  EXPECT_EQ(bpe_ids(BpeModel(vocabulary), "abc"), std::vector<TokenId>{3});
  EXPECT_EQ(bpe_ids(BpeModel(vocabulary), "abca"), (std::vector<TokenId>{0, 1, 2, 0}));
}

TEST(BpeModel, CutsAtTheSpaceSignChangeNothing) {
  std::string sign = "\u2581";
  BpeVocabulary vocabulary{.symbols = {sign, "a", "b", sign + "a", "ab", sign + "ab"},
                           .merges = {{1, 2, 4}, {0, 4, 5}, {0, 1, 3}}};
  BpeVocabulary marked = vocabulary;
  marked.space_sign = sign;
  BpeModel whole(vocabulary), cut(marked);
  for (const std::string& word :
       {sign + "ab" + sign + sign + "a", "ab" + sign, sign, "a" + sign + "b"}) {
    EXPECT_EQ(bpe_ids(cut, word), bpe_ids(whole, word)) << word;
  }
}

TEST(BpeModel, ModelsDoNotShareTheirCache) {
  BpeModel first(BpeVocabulary{.symbols = {"a", "b"}, .merges = {}});
  BpeModel second(BpeVocabulary{.symbols = {"b", "a"}, .merges = {}});
  EXPECT_EQ(bpe_ids(first, "ab"), (std::vector<TokenId>{0, 1}));
  EXPECT_EQ(bpe_ids(second, "ab"), (std::vector<TokenId>{1, 0}));
  EXPECT_EQ(bpe_ids(first, "ab"), (std::vector<TokenId>{0, 1}));
}

}  // namespace
}  // namespace continuo
