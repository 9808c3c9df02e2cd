// Prompts from files and the command line.
#include "cli/prompt_source.h"

#include <gtest/gtest.h>

#include "core/files.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::TempDir;

TEST(PromptFile, TakesOnePromptALine) {
  const TempDir directory;
  atomic_write(directory / "p.txt", "one\r\n\n  \ntwo");
  const auto inputs = read_prompt_file(directory / "p.txt");
  ASSERT_EQ(inputs.size(), 2U);
  EXPECT_EQ(std::get<std::string>(inputs[0].content), "one");
  EXPECT_EQ(inputs[1].where.line, 4);
}

TEST(PromptFile, RecordsAndMessages) {
  const TempDir directory;
  atomic_write(directory / "p.jsonl",
               "{\"question\": \"q\", \"n\": 1.50}\n"
               "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n\"text\"\n");
  const auto inputs = read_prompt_file(directory / "p.jsonl");
  ASSERT_EQ(inputs.size(), 3U);
  EXPECT_EQ(std::get<Fields>(inputs[0].content).find("n")->second, "1.50");
  EXPECT_EQ(std::get<std::vector<Turn>>(inputs[1].content)[0].content, "hi");
  EXPECT_EQ(std::get<std::string>(inputs[2].content), "text");
}

TEST(PromptFile, FaultsNameFileAndLine) {
  const TempDir directory;
  const char* kLines[] = {"{", "3", R"({"messages": []})", R"({"messages": [{"role": "user"}]})"};
  for (const char* line : kLines) {
    atomic_write(directory / "p.jsonl", std::string("\"ok\"\n") + line + "\n");
    try {
      read_prompt_file(directory / "p.jsonl");
      ADD_FAILURE() << line;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("p.jsonl:2"), std::string::npos) << error.what();
    }
  }
  atomic_write(directory / "p.txt", "\n\n");
  EXPECT_THROW(read_prompt_file(directory / "p.txt"), Error);
}

TEST(FieldArguments, WantNameAndValue) {
  const std::vector<std::string> good{"a=1=2", "b="};
  EXPECT_EQ(parse_field_arguments(good), (Fields{{"a", "1=2"}, {"b", ""}}));
  for (const std::vector<std::string>& bad :
       {std::vector<std::string>{"a"}, {"=x"}, {"a=1", "a=2"}}) {
    EXPECT_THROW(parse_field_arguments(bad), Error);
  }
}

TEST(Title, IsOneLine) {
  EXPECT_EQ(title_of({"a\nb", {}}, 10), "a b");
  EXPECT_EQ(title_of({"abcdef", {}}, 4), "abc…");
}

}  // namespace
}  // namespace continuo
