#include "text/tokenizer/sentencepiece_trainer.h"

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using test::small_config;
using test::small_corpus;
using test::small_tokenizer;
using test::SmallKind;
using test::TempDir;

TEST(SentencePieceTrainer, SameInputSameBytesAndSilence) {
  TempDir directory;
  std::string input = directory.write("corpus.txt", small_corpus()).string();
  for (TokenizerModel model : {TokenizerModel::kUnigram, TokenizerModel::kBpe}) {
    TokenizerTrainConfig config = small_config({model}, input);
    config.threads = 2;
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    std::string first = train_sentencepiece(config), second = train_sentencepiece(config);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
    EXPECT_TRUE(first == second);
    EXPECT_EQ(SentencePieceTokenizer(first).size(), 400);
  }
}

TEST(SentencePieceTrainer, LearnsSpacesLinesAndSingleDigits) {
  TempDir directory;
  std::string code = small_corpus();
  for (size_t at = 0; (at = code.find('\n', at)) != std::string::npos; at += 5)
    code.insert(at + 1, "    ");
  for (TokenizerModel model : {TokenizerModel::kUnigram, TokenizerModel::kBpe}) {
    TokenizerTrainConfig config = small_config({model}, directory.write("code.txt", code).string());
    SentencePieceTokenizer tokenizer(train_sentencepiece(config));
    EXPECT_TRUE(tokenizer.find("\n"));
    EXPECT_TRUE(tokenizer.find("▁▁")) << "runs of spaces are pieces";
    EXPECT_EQ(tokenizer.encode_continuation("123").size(), 3u);
  }
  EXPECT_TRUE(small_tokenizer().find("▁the"));
}

TEST(SentencePieceTrainer, ASpaceHasAPieceEvenWhenTheTextsHaveNone) {
  TempDir directory;
  std::string text;
  for (int i = 0; i < 200; ++i) text += "日本語の文章です。猫が好き。\n";
  for (TokenizerModel model : {TokenizerModel::kUnigram, TokenizerModel::kBpe}) {
    TokenizerTrainConfig config = small_config({model}, directory.write("ja.txt", text).string());
    config.vocab_size = 278;
    SentencePieceTokenizer tokenizer(train_sentencepiece(config));
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("a b  猫 ")), "a b  猫 ");
  }
}

TEST(SentencePieceTrainer, VocabularyMustFitTheTexts) {
  TempDir directory;
  std::string input = directory.write("corpus.txt", small_corpus()).string();
  for (TokenizerModel model : {TokenizerModel::kUnigram, TokenizerModel::kBpe}) {
    TokenizerTrainConfig config = small_config({model}, input);
    config.vocab_size = 50000;
    std::string message = error_of([&] { train_sentencepiece(config); });
    ASSERT_NE(message.find("vocab_size 50000 is too large"), std::string::npos) << message;
    size_t at = message.find("set vocab_size=");
    ASSERT_NE(at, std::string::npos) << message;
    config.vocab_size = std::stoll(message.substr(at + 15));
    EXPECT_EQ(SentencePieceTokenizer(train_sentencepiece(config)).size(), config.vocab_size);
    config.vocab_size = 270;
    message = error_of([&] { train_sentencepiece(config); });
    EXPECT_NE(message.find("vocab_size 270 is too small"), std::string::npos) << message;
  }
}

TEST(SentencePieceTrainer, FaultyInputsEndInErrors) {
  TempDir directory;
  auto fault = [&](const std::string& content, std::vector<std::string> fields) {
    TokenizerTrainConfig config = small_config({}, directory.write("in.jsonl", content).string());
    config.inputs[0].fields = std::move(fields);
    return error_of([&] { train_sentencepiece(config); });
  };
  EXPECT_NE(fault("", {}).find("hold no text"), std::string::npos);
  EXPECT_NE(fault("{\"p\": \"\"}\n", {"p"}).find("hold no text"), std::string::npos);
  // The first row is read before the library starts, the later ones inside it.
  EXPECT_NE(fault("{\"q\": \"x\"}\n", {"p"}).find("in.jsonl:1"), std::string::npos);
  std::string rows;
  for (int i = 0; i < 3000; ++i) rows += "{\"p\": \"the quick fox\"}\n";
  EXPECT_NE(fault(rows + "{\"p\": 3}\n", {"p"}).find("in.jsonl:3001"), std::string::npos);
  EXPECT_NE(fault(rows + "\xFF\n", {"p"}).find("in.jsonl:3001"), std::string::npos);
  EXPECT_NE(fault("{\"p\": \"x\"}\n", {"p"}).find("vocab_size 400 is too large"),
            std::string::npos);
}

TEST(SentencePieceTrainer, TinyAndOddTextsNeverCrash) {
  TempDir directory;
  for (std::string text : {" ", "\n", "\t\t", "a", "  \n \n", "\xE2\x96\x85 a", "1 2 3", "🙂",
                           "aaaaaaaaaaaaaaaaaaaaaaaa"}) {
    for (TokenizerModel model : {TokenizerModel::kUnigram, TokenizerModel::kBpe}) {
      TokenizerTrainConfig config =
          small_config({model}, directory.write("odd.txt", text).string());
      for (int64_t size : {264, 300}) {
        config.vocab_size = size;
        try {
          SentencePieceTokenizer tokenizer(train_sentencepiece(config));
          EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
        } catch (const Error&) {
        }
      }
    }
  }
}

TEST(SentencePieceTrainer, ReportsWhatItRead) {
  TempDir directory;
  std::string corpus = small_corpus();
  int64_t last = 0;
  train_sentencepiece(small_config({}, directory.write("c.txt", corpus).string()),
                      [&](int64_t bytes) { last = bytes; });
  EXPECT_EQ(last, static_cast<int64_t>(corpus.size()));
}

}  // namespace
}  // namespace continuo
