// Prompts from files and the command line.
#include "app/prompt_source.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/utf8.h"
#include "support/byte_tokenizer.h"
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
  EXPECT_EQ(std::get<Conversation>(inputs[1].content).turns[0].content, "hi");
  EXPECT_EQ(std::get<std::string>(inputs[2].content), "text");
}

TEST(PromptFile, ConversationsBringTheirTools) {
  const TempDir directory;
  atomic_write(
      directory / "p.jsonl",
      R"({"tools": [{"function": {"name": "f"}}], "messages": [)"
      R"({"role": "user", "content": "u"},)"
      R"({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},)"
      R"({"role": "tool", "content": "r"}]})");
  const auto inputs = read_prompt_file(directory / "p.jsonl");
  ASSERT_EQ(inputs.size(), 1U);
  const auto& conversation = std::get<Conversation>(inputs[0].content);
  EXPECT_EQ(conversation.tools, R"([{"function":{"name":"f"}}])");
  EXPECT_EQ(title_of(inputs[0], 20), "r");
  EXPECT_EQ(prompt_json(inputs[0])[1]["tool_calls"][0]["function"]["name"], "f");
  const PromptTemplate prompt(PromptConfig{
      .chat_template = "{{ tools[0].function.name }}:{% for m in messages %}"
                       "{{ m.role }},{% endfor %}{{ messages[1].tool_calls | length }}"});
  std::string text;
  for (const Segment& segment : prompt.render_prompt(conversation.turns, conversation.tools)) {
    text += segment.text;
  }
  EXPECT_EQ(text, "f:user,assistant,tool,1");
}

TEST(PromptFile, FaultsNameFileAndLine) {
  const TempDir directory;
  const char* kLines[] = {"{", "3", R"({"messages": []})", R"({"messages": [{"role": "user"}]})",
                          R"({"messages": [{"role": "robot", "content": "x"}]})"};
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

// Opens every text with BOS, as the files of many models say.
class OpeningTokenizer : public test::ByteTokenizer {
 public:
  bool adds_bos() const override { return true; }
};

std::vector<TokenId> with_bos(std::string_view text) {
  std::vector<TokenId> ids = test::ByteTokenizer().encode(text);
  ids.insert(ids.begin(), test::ByteTokenizer::kBos);
  return ids;
}

TEST(EncodeInput, RawTextOpensAsTheModelsFilesSay) {
  const PromptTemplate chat(PromptConfig{.chat_template = "[{{ messages[0].content }}]"});
  const PromptTemplate plain{PromptConfig{}}, never(PromptConfig{.bos = BosRule::kFalse});
  const PromptInput text{"hi", {}};
  const OpeningTokenizer opening;
  for (const bool raw : {false, true}) {
    EXPECT_EQ(encode_input(text, opening, plain, raw), with_bos("hi"));
    EXPECT_EQ(encode_input(text, opening, never, raw), opening.encode("hi"));
    EXPECT_EQ(encode_input(text, test::ByteTokenizer(), plain, raw), opening.encode("hi"));
  }
  // A chat template writes its own BOS, or none; text without it opens as any other.
  EXPECT_EQ(encode_input(text, opening, chat, false), opening.encode("[hi]"));
  EXPECT_EQ(encode_input(text, opening, chat, true), with_bos("hi"));
  EXPECT_EQ(encode_input({"", {}}, opening, plain, true), with_bos(""));
  EXPECT_THROW(encode_input({"", {}}, opening, never, true), Error);
}

TEST(EncodeInput, RawRecordsAreTheirText) {
  const PromptTemplate prompt(PromptConfig{.prompt = "Q: {question}"});
  const test::ByteTokenizer tokenizer;
  const auto raw = [&](std::string_view line) {
    return encode_input(parse_prompt_record(line, {.file = "p.jsonl", .line = 3}), tokenizer,
                        prompt, true);
  };
  EXPECT_EQ(raw(R"({"text": "once", "source": "a book"})"), tokenizer.encode("once"));
  EXPECT_EQ(raw(R"("once")"), tokenizer.encode("once"));
  const auto fault = [&](std::string_view line) {
    try {
      raw(line);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("(no error)");
  };
  EXPECT_NE(fault(R"({"question": "q"})").find("p.jsonl:3"), std::string::npos);
  EXPECT_NE(fault(R"({"question": "q"})").find("--raw needs the field 'text'"), std::string::npos);
  EXPECT_NE(fault(R"({"question": "q"})").find("given: question"), std::string::npos);
  EXPECT_NE(fault(R"({"messages": [{"role": "user", "content": "q"}]})").find("messages are none"),
            std::string::npos);
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
