#include "text/tokenizer/tokenizer_train_config.h"

#include <gtest/gtest.h>

#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

using test::error_of;
using test::TempDir;

TokenizerTrainConfig load(const std::filesystem::path& file,
                          std::vector<std::string> overrides = {}) {
  ConfigNode root = load_yaml(file);
  for (const auto& assignment : overrides) apply_override(root, assignment);
  Problems problems;
  TokenizerTrainConfig config;
  load_config(root, config, problems);
  config = resolve_tokenizer_train_config(config, root, problems);
  problems.raise();
  return config;
}

TEST(TokenizerTrainConfig, LoadsAndResolvesPathsAgainstTheFile) {
  TempDir directory;
  directory.write("data/a.jsonl", "");
  auto file = directory.write("t.yaml",
                              "inputs:\n  - path: data/a.jsonl\n    fields: [prompt, completion]\n"
                              "vocab_size: 500\nmodel: bpe\nspecials: [\"<|user|>\"]\n");
  TokenizerTrainConfig config = load(file, {"vocab_size=600"});
  EXPECT_EQ(config.inputs[0].path, (directory / "data/a.jsonl").string());
  EXPECT_EQ(config.inputs[0].fields.size(), 2u);
  EXPECT_EQ(config.model, TokenizerModel::kBpe);
  EXPECT_EQ(config.vocab_size, 600);
  EXPECT_TRUE(config.byte_fallback);
  EXPECT_FALSE(config.add_dummy_prefix);
}

TEST(TokenizerTrainConfig, FaultsComeTogetherWithTheirPlaces) {
  TempDir directory;
  directory.write("a.jsonl", "");
  auto file = directory.write("t.yaml",
                              "inputs:\n"
                              "  - path: nowhere.txt\n"
                              "  - path: a.jsonl\n"
                              "vocab_size: 260\n"
                              "specials: [\"<s>\", \"a b\", \"<0x41>\"]\n"
                              "vocabsize: 3\n");
  std::string message = error_of([&] { load(file); });
  for (std::string part :
       {"t.yaml:2", "no such file", "t.yaml:3", "no fields are named", "t.yaml:4",
        "leaves no room beside 263 reserved", "'<s>' is there already", "'a b' must be",
        "'<0x41>' looks like a byte", "vocabsize"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in\n" << message;
  }
  message = error_of([&] { load(directory.write("empty.yaml", "vocab_size: 500\n")); });
  EXPECT_NE(message.find("at least one file"), std::string::npos) << message;
}

}  // namespace
}  // namespace continuo
