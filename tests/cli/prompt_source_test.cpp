// Prompts from files and the command line, and text that arrives in pieces.
#include "cli/prompt_source.h"

#include <gtest/gtest.h>

#include "cli/text_flow.h"
#include "core/files.h"
#include "core/utf8.h"
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

TEST(TextFlow, NeverGivesHalfACodePointForAnySplit) {
  const std::string text = "é€😀x";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    TextFlow flow;
    const std::string first = flow.push(text.substr(0, cut));
    EXPECT_EQ(find_invalid_utf8(first), std::nullopt);
    EXPECT_EQ(first, text.substr(0, first.size()));
    const std::string second = flow.push(text.substr(cut));
    EXPECT_EQ(first + second, text);
    EXPECT_EQ(flow.finish(), "");
  }
}

TEST(TextFlow, ReplacesWhatIsNoText) {
  TextFlow flow;
  EXPECT_EQ(flow.push("a\xff"
                      "b\xe2\x82"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(flow.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(flow.finish(), "");
}

}  // namespace
}  // namespace continuo
