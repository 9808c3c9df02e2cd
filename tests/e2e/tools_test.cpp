// Conversations with tools through the real binary: what is trained of them, and what generation
// starts from.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "e2e/binary.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

constexpr const char* kToolRow =
    R"("tools": [{"function": {"name": "weather"}}], "messages": [)"
    R"({"role": "user", "content": "Weather in Bern?"},)"
    R"({"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Bern"}}}]},)"
    R"({"role": "tool", "name": "weather", "content": "clear"},)"
    R"({"role": "assistant", "content": "Clear."}]})";

constexpr const char* kToolTemplate =
    "{% for m in messages %}<|a|>{{ m.role }}\\n"
    "{% if loop.first and tools %}{{ tools | tojson }}{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}<|b|>"
    "{% endfor %}{% if add_generation_prompt %}<|a|>assistant\\n{% endif %}";

TEST(Tools, CallsTrainAndResultsDoNot) {
  const TempDir directory;
  std::string rows;
  for (int i = 0; i < 40; ++i) {
    rows += fmt::format(
        "{{\"text\": \"What is {} plus one? It is {}, of course: every number follows another, as "
        "the days of a week and the months of a year do.\", ",
        i, i + 1);
    rows += kToolRow + std::string("\n");
  }
  directory.write("rows.jsonl", rows);
  directory.write("x.yaml", fmt::format(R"(run_dir: run
threads: 1
device: cpu
tokenizer:
  train: {{inputs: [{{path: rows.jsonl, fields: [text]}}], vocab_size: 300, specials: ["<|a|>", "<|b|>"]}}
model: {{layers: 1, hidden: 32, heads: 2, context: 512}}
prompt: {{chat_template: "{}"}}
data: {{train: [{{path: rows.jsonl}}], cache: cache}}
batch: {{rows: 4}}
train: {{steps: 2}}
generation: {{max_new_tokens: 2}}
)",
                                        kToolTemplate));
  const Outcome trained = run(directory, {"train", "x.yaml"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Outcome inspected = run(directory, {"inspect", "x.yaml", "--examples", "1"});
  ASSERT_EQ(inspected.code, 0) << inspected.err;
  EXPECT_NE(inspected.out.find(R"([{"function": {"name": "weather"}}]Weather in Bern?<|b|>)"),
            std::string::npos)
      << inspected.out;
  EXPECT_NE(
      inspected.out.find(R"(⟦{"name": "weather", "arguments": {"city": "Bern"}}<|b|>⟧<|a|>tool)"),
      std::string::npos)
      << inspected.out;
  EXPECT_NE(inspected.out.find("clear<|b|><|a|>assistant"), std::string::npos) << inspected.out;
  EXPECT_NE(inspected.out.find("⟦Clear.<|b|>⟧"), std::string::npos) << inspected.out;

  directory.write("ask.jsonl", "{" + std::string(kToolRow));
  const Outcome asked = run(directory, {"generate", "run", "--file", "ask.jsonl", "--json"});
  ASSERT_EQ(asked.code, 0) << asked.err;
  const auto answer = nlohmann::json::parse(asked.out.substr(0, asked.out.find('\n')));
  EXPECT_EQ(answer["prompt"][1]["tool_calls"][0]["function"]["name"], "weather");

  directory.write("rows.jsonl", rows + R"({"messages": [{"role": "user", "content": "u"},)" +
                                    R"({"role": "assistant", "tool_calls": [{}]}]})" + "\n");
  const Outcome faulty = run(directory, {"inspect", "x.yaml"});
  EXPECT_EQ(faulty.code, 1);
  EXPECT_NE(faulty.err.find("rows.jsonl:41"), std::string::npos) << faulty.err;
  EXPECT_NE(faulty.err.find("messages.1.tool_calls.0 does not name its function"),
            std::string::npos)
      << faulty.err;
}

}  // namespace
}  // namespace continuo
