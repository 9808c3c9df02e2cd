#include <gtest/gtest.h>

#include "text/tokenizer/golden_tokenizers.h"
#include "text/tokenizer/small_tokenizers.h"

namespace continuo {
namespace {

TEST(LoadTokenizer, DirectoriesAndFilesOfBothKinds) {
  test::TempDir directory;
  auto json = directory.write("tokenizer.json", test::golden_json("gpt2"));
  EXPECT_EQ(load_tokenizer(directory.path())->hash(), test::golden_tokenizer("gpt2").hash());
  EXPECT_EQ(load_tokenizer(json)->hash(), test::golden_tokenizer("gpt2").hash());
  auto model = directory.write("tokenizer.model", test::small_model());
  EXPECT_EQ(load_tokenizer(directory.path())->hash(), test::small_tokenizer().hash());
  EXPECT_EQ(load_tokenizer(model)->hash(), test::small_tokenizer().hash());
}

TEST(LoadTokenizer, AFileOfAnotherNameTakesNoSettings) {
  test::TempDir directory;
  auto file = directory.write("other.json", test::tiny_tokenizer().dump());
  directory.write("tokenizer_config.json", R"({"eos_token": "</absent>"})");
  EXPECT_EQ(load_tokenizer(file)->eos(), std::nullopt);
}

TEST(LoadTokenizer, FaultsNameThePath) {
  test::TempDir directory;
  auto fault = [](const std::filesystem::path& path) {
    return test::error_of([&] { load_tokenizer(path); });
  };
  EXPECT_NE(fault(directory.path()).find("no tokenizer in this directory"), std::string::npos);
  EXPECT_NE(fault(directory / "absent").find("no such tokenizer"), std::string::npos);
  auto damaged = directory.write("tokenizer.json", "{\"model\": {");
  EXPECT_NE(fault(damaged).find("tokenizer.json:1"), std::string::npos);
}

}  // namespace
}  // namespace continuo
