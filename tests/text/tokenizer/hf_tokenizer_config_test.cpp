#include "text/tokenizer/hf_tokenizer_config.h"

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using test::TempDir;

TEST(HfTokenizerConfig, AbsentFilesAreDefaults) {
  TempDir directory;
  HfTokenizerConfig config = HfTokenizerConfig::read(directory.path());
  EXPECT_FALSE(config.bos.mentioned);
  EXPECT_TRUE(config.added.empty());
}

TEST(HfTokenizerConfig, ReadsEveryFormOfAToken) {
  TempDir directory;
  directory.write("tokenizer_config.json",
                  R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": null,
      "added_tokens_decoder": {"7": {"content": "\n"}, "9": {"content": "<|x|>", "special": true}}})");
  directory.write("added_tokens.json", R"({"<|y|>": 10, "<|x|>": 9})");
  HfTokenizerConfig config = HfTokenizerConfig::read(directory.path());
  EXPECT_EQ(config.bos.text, "<s>");
  EXPECT_EQ(config.eos.text, "</s>");
  EXPECT_TRUE(config.pad.mentioned);
  EXPECT_EQ(config.pad.text, std::nullopt);
  EXPECT_FALSE(config.unk.mentioned);
  EXPECT_FALSE(config.added.at(7).special);
  EXPECT_TRUE(config.added.at(9).special);
  EXPECT_EQ(config.added.at(10).text, "<|y|>");
}

TEST(HfTokenizerConfig, FaultsNameTheFile) {
  TempDir directory;
  auto fault = [&](const std::string& json) {
    directory.write("tokenizer_config.json", json);
    return error_of([&] { HfTokenizerConfig::read(directory.path()); });
  };
  EXPECT_NE(fault("{").find("tokenizer_config.json:1"), std::string::npos);
  EXPECT_NE(fault("[]").find("must be a JSON object"), std::string::npos);
  EXPECT_NE(fault(R"({"eos_token": 3})").find("eos_token must be"), std::string::npos);
  EXPECT_NE(fault(R"({"added_tokens_decoder": {"x": {"content": "a"}}})").find("'x' is not an id"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
