#include "text/tokenizer/training_text.h"

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using test::TempDir;

std::vector<std::string> read_all(const TokenizerTrainConfig& config) {
  TrainingText text(config);
  std::vector<std::string> all;
  for (std::string stretch; text.next(stretch);) all.push_back(stretch);
  return all;
}

TokenizerTrainConfig config_for(const std::filesystem::path& file,
                                std::vector<std::string> fields = {}) {
  TokenizerTrainConfig config;
  config.inputs = {{file.string(), std::move(fields)}};
  return config;
}

TEST(CutForTraining, CutsAtLinesThenSpacesThenCodePoints) {
  using Views = std::vector<std::string_view>;
  EXPECT_EQ(cut_for_training("abc\nde fgh", 6), (Views{"abc\n", "de fgh"}));
  EXPECT_EQ(cut_for_training("abc de", 5), (Views{"abc", " de"}));
  EXPECT_EQ(cut_for_training("日本語", 7), (Views{"日本", "語"}));
  EXPECT_EQ(cut_for_training(" abcdefgh", 4), (Views{" abc", "defg", "h"}));
  EXPECT_TRUE(cut_for_training("", 4).empty());
  EXPECT_EQ(cut_for_training("a\xE2\x96\x81q\xE2\x96\x85\xE2\x96\x85z", 9), (Views{"a", "q", "z"}));
}

TEST(CutForTraining, LosesNothingButReservedCharacters) {
  std::mt19937 random(3);
  for (int i = 0; i < 500; ++i) {
    std::string text = test::random_text(random) + test::random_text(random), joined, expected;
    for (auto stretch : cut_for_training(text, 4 + random() % 20)) joined += stretch;
    for (size_t at = 0; at < text.size();) {
      bool reserved =
          text.compare(at, 3, "\xE2\x96\x81") == 0 || text.compare(at, 3, "\xE2\x96\x85") == 0;
      if (!reserved && text[at] != '\0') expected += text[at];
      at += reserved ? 3 : 1;
    }
    ASSERT_EQ(joined, expected);
  }
}

TEST(TrainingText, PlainTextKeepsItsLines) {
  TempDir directory;
  auto file = directory.write("a.txt", "\xEF\xBB\xBFone\n\n  two\r\nthree");
  EXPECT_EQ(read_all(config_for(file)), (std::vector<std::string>{"one\n\n  two\r\nthree"}));
  auto config = config_for(file);
  config.max_sentence_length = 8;
  EXPECT_EQ(read_all(config), (std::vector<std::string>{"one\n\n", "  two\r\n", "three"}));
}

TEST(TrainingText, RowsGiveTheirFields) {
  TempDir directory;
  auto file =
      directory.write("a.jsonl",
                      "{\"p\": \"q1\\n\", \"c\": \"a1\", \"x\": 3}\n\n"
                      "{\"p\": [{\"role\": \"user\", \"content\": \"u\"}, \"v\"], \"c\": \"\"}\n");
  EXPECT_EQ(read_all(config_for(file, {"p", "c"})),
            (std::vector<std::string>{"q1\n", "a1", "u", "v"}));
}

TEST(TrainingText, FaultsNameFileAndLine) {
  TempDir directory;
  auto fault = [&](const std::string& content, std::vector<std::string> fields) {
    auto file = directory.write("a.jsonl", content);
    return error_of([&] { read_all(config_for(file, std::move(fields))); });
  };
  std::string message = fault("{\"p\": \"x\"}\n{\"q\": \"x\"}\n", {"p"});
  EXPECT_NE(message.find("a.jsonl:2"), std::string::npos) << message;
  EXPECT_NE(message.find("field 'p' is missing"), std::string::npos) << message;
  EXPECT_NE(message.find("the row has: q"), std::string::npos) << message;
  EXPECT_NE(fault("{\"p\": 1}\n", {"p"}).find("field 'p' is not text"), std::string::npos);
  EXPECT_NE(fault("{\"p\": [1]}\n", {"p"}).find("field 'p' is not text"), std::string::npos);
  EXPECT_NE(fault("[]\n", {"p"}).find("a.jsonl:1"), std::string::npos);
  EXPECT_NE(fault("{\"p\": \n", {"p"}).find("a.jsonl:1"), std::string::npos);
  message = fault("fine\nab\xFFz\n", {});
  EXPECT_NE(message.find("a.jsonl:2:3"), std::string::npos) << message;
  EXPECT_NE(message.find("invalid UTF-8"), std::string::npos) << message;
}

TEST(TrainingText, TheSampleIsAFunctionOfTheSeed) {
  TempDir directory;
  std::string rows;
  for (int i = 0; i < 2000; ++i) rows += fmt::format("{{\"p\": \"{}\"}}\n", i);
  auto config = config_for(directory.write("a.jsonl", rows), {"p"});
  config.sample = 0.25;
  auto first = read_all(config);
  EXPECT_NEAR(static_cast<double>(first.size()), 500, 80);
  EXPECT_EQ(read_all(config), first);
  config.seed = 1;
  EXPECT_NE(read_all(config), first);
}

}  // namespace
}  // namespace continuo
