#include "data/row_parser.h"

#include <gtest/gtest.h>

#include "support/data_fixture.h"
#include "text/prompt/record_encoding.h"

namespace continuo {
namespace {

DataSource source_of(RowFormat format) {
  DataSource source;
  source.path = "rows.jsonl";
  source.format = format;
  return source;
}

std::string rendered(const std::vector<Segment>& segments) {
  std::string text;
  for (const Segment& segment : segments) {
    text += segment.trained ? "[" + segment.text + "]" : segment.text;
  }
  return text;
}

struct Outcome {
  std::string text;
  RowFault fault;
};

Outcome parse(const DataSource& source, const PromptTemplate& prompt, std::string_view row) {
  auto parsed = RowParser(source, prompt).parse(row);
  if (auto* fault = std::get_if<RowFault>(&parsed)) return {"", *fault};
  const std::string text = rendered(render_record(prompt, std::get<Record>(parsed)));
  return {text, {}};
}

Outcome parse_record(std::string_view row) {
  return parse(source_of(RowFormat::kRecords), test::record_template(), row);
}
Outcome parse_messages(std::string_view row) {
  return parse(source_of(RowFormat::kMessages), test::message_template(), row);
}

TEST(RowParser, RecordsThroughTheTemplate) {
  EXPECT_EQ(parse_record(R"({"q": "why?", "a": "so", "other": [1]})").text, "why?>[so]");
  EXPECT_EQ(parse_record(R"({"q": 1.50, "a": true})").text, "1.50>[true]");
  EXPECT_EQ(parse_record(R"({"q": "", "a": "so"})").text, ">[so]") << "an empty prompt is no fault";
}

TEST(RowParser, NestedFieldsByDottedPath) {
  PromptConfig config;
  config.prompt = "{a.b}:{instances.0.input}>";
  config.completion = "{instances.0.output}";
  const PromptTemplate prompt(config);
  EXPECT_EQ(parse(source_of(RowFormat::kRecords), prompt,
                  R"({"a": {"b": "x"}, "instances": [{"input": "in", "output": "out"}]})")
                .text,
            "x:in>[out]");
  const RowFault fault =
      parse(source_of(RowFormat::kRecords), prompt, R"({"a": {"b": "x"}, "instances": []})").fault;
  EXPECT_EQ(fault.message,
            "no field instances.0.input, instances.0.output; the row has a, instances");
}

TEST(RowParser, FaultsOfRecords) {
  RowFault fault = parse_record(R"({"q": "x", "answer": "y", "aa": "z"})").fault;
  EXPECT_EQ(fault.reason, "missing field");
  EXPECT_EQ(fault.message, "no field a; the row has q, answer, aa");
  EXPECT_EQ(parse_record("{}").fault.message, "no field q, a; the row is empty");
  fault = parse_record(R"({"q": ["x"], "a": "y"})").fault;
  EXPECT_EQ(fault.reason, "wrong type");
  EXPECT_EQ(fault.message, "field q is a list, not text");
  EXPECT_EQ(fault.hint, "name one of its entries: q.0");
  EXPECT_EQ(parse_record(R"({"q": {"b": 1}, "a": "y"})").fault.hint,
            "name one of its fields: q.<field>");
  EXPECT_EQ(parse_record(R"({"q": "x", "a": null})").fault.message, "field a is null, not text");
  EXPECT_EQ(parse_record(R"({"q": "x", "a": " \n"})").fault.reason, "empty completion");
  EXPECT_EQ(parse_record(R"({"q": "x",)").fault.reason, "bad JSON");
  EXPECT_EQ(parse_record("[]").fault.reason, "not an object");
}

TEST(RowParser, InvalidUtf8NamesTheColumn) {
  const RowFault fault = parse_record("{\"q\": \"é\xFF\", \"a\": \"b\"}").fault;
  EXPECT_EQ(fault.reason, "invalid UTF-8");
  EXPECT_EQ(fault.column, 9);
  EXPECT_EQ(fault.message, "invalid UTF-8: byte 0xFF");
}

TEST(RowParser, InvalidUtf8InsideADocument) {
  DataSource source = source_of(RowFormat::kText);
  source.path = "book.txt";
  const RowFault fault = parse(source, test::record_template(), "one\ntw\xC0o").fault;
  EXPECT_EQ(fault.line, 1);
  EXPECT_EQ(fault.column, 3);
}

TEST(RowParser, Messages) {
  EXPECT_EQ(
      parse_messages(
          R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                               {"role": "assistant", "content": "a", "extra": 1}]})")
          .text,
      "S:s;U:u;[a]");
  DataSource named = source_of(RowFormat::kMessages);
  named.messages = "chat.turns";
  EXPECT_EQ(parse(named, test::message_template(),
                  R"({"chat": {"turns": [{"role": "assistant", "content": "a"}]}})")
                .text,
            "[a]");
}

constexpr const char* kCallingChat =
    "{{ tools | tojson if tools }}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}"
    "@{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "{{ eos_token if m.role != 'user' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

PromptTemplate calling_chat(const char* source = kCallingChat) {
  return PromptTemplate(PromptConfig{.chat_template = source}).bound_to(test::ByteTokenizer());
}

// An assistant's calls are trained, what the tools gave is not.
TEST(RowParser, ToolsAndTheirCalls) {
  const std::string row =
      R"({"messages": [{"role": "user", "content": "u"},)"
      R"({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"b": 1, "a": "x"}}}]},)"
      R"({"role": "tool", "name": "f", "content": "r"}, {"role": "assistant", "content": "done"}],)"
      R"("tools": [{"z": 1, "a": 2}]})";
  const Outcome outcome = parse(source_of(RowFormat::kMessages), calling_chat(), row);
  EXPECT_EQ(outcome.fault.message, "");
  EXPECT_EQ(outcome.text,
            R"([{"z": 1, "a": 2}]<user>u<assistant>[@f{"b": 1, "a": "x"}][</s>]<tool>r</s>)"
            R"(<assistant>[done][</s>])");

  const RowFault plain = parse_messages(row).fault;
  EXPECT_EQ(plain.message, "messages.1 calls tools");
  EXPECT_NE(plain.hint.find("set `chat`"), std::string::npos);
}

TEST(RowParser, FaultsOfMessages) {
  const auto message = [](const std::string& turns) {
    return parse_messages("{\"messages\": " + turns + "}").fault.message;
  };
  EXPECT_EQ(message("[]"), "messages is an empty list");
  EXPECT_EQ(message("\"hi\""), "field messages is a string, not a list of turns");
  EXPECT_EQ(message(R"(["hi"])"), "messages.0 is a string, not an object");
  EXPECT_EQ(message(R"([{"role": "user"}])"), "messages.0 has no content");
  EXPECT_EQ(message(R"([{"content": "x"}])"), "messages.0 has no role");
  EXPECT_EQ(message(R"([{"role": "user", "content": null}])"),
            "messages.0.content is null, not a string");
  EXPECT_EQ(message(R"([{"role": "human", "content": "x"}])"),
            "messages.0: unknown role \"human\"");
  EXPECT_EQ(message(R"([{"role": "user", "content": "x"}])"), "messages has no assistant turn");
  EXPECT_EQ(message(R"([{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}])"),
            "messages.1: empty assistant turn");
  EXPECT_EQ(message(R"([{"role": "developer", "content": "x"}])"),
            "messages.0 has the role developer");
  EXPECT_EQ(parse_messages(R"({"message": []})").fault.reason, "missing field");
}

TEST(RowParser, PlainText) {
  EXPECT_EQ(
      parse(source_of(RowFormat::kText), test::record_template(), R"({"text": "all of it"})").text,
      "[all of it]");
  EXPECT_EQ(
      parse(source_of(RowFormat::kText), test::record_template(), R"({"text": "  "})").fault.reason,
      "empty completion");
  EXPECT_EQ(
      parse(source_of(RowFormat::kText), test::record_template(), R"({"txt": "x"})").fault.message,
      "no field text; the row has txt");
}

TEST(RowParser, WeightsOfRows) {
  DataSource source = source_of(RowFormat::kRecords);
  source.row_weight = "meta.w";
  const PromptTemplate prompt = test::record_template();
  const auto weight = [&](const std::string& meta) {
    const RowParser parser(source, prompt);
    return parser.parse(R"({"q": "x", "a": "y", "meta": )" + meta + "}");
  };
  EXPECT_EQ(std::get<Record>(weight(R"({"w": 0.25})")).weight, 0.25f);
  EXPECT_EQ(std::get<Record>(weight(R"({"w": 0})")).weight, 0);
  EXPECT_EQ(std::get<Record>(weight(R"({"w": null})")).weight, 1);
  EXPECT_EQ(std::get<Record>(weight("{}")).weight, 1);
  EXPECT_EQ(std::get<RowFault>(weight(R"({"w": "much"})")).message,
            "field meta.w is a string, not a weight");
  EXPECT_EQ(std::get<RowFault>(weight(R"({"w": -1})")).message, "field meta.w is -1, not a weight");
  EXPECT_EQ(std::get<RowFault>(weight(R"({"w": 1e999})")).reason, "bad JSON");
}

TEST(RowParser, WeightsOfTurns) {
  DataSource source = source_of(RowFormat::kMessages);
  source.turn_weight = "weight";
  const PromptTemplate prompt = test::message_template();
  const auto parsed = [&](const std::string& weight) {
    return RowParser(source, prompt)
        .parse(R"({"messages": [{"role": "user", "content": "u"},)"
               R"({"role": "assistant", "content": "a", "weight": )" +
               weight + "}]}");
  };
  const auto record = std::get<Record>(parsed("0.5"));
  const Turn& answer = std::get<Conversation>(record.content).turns[1];
  EXPECT_EQ(answer.weight, 0.5f);
  EXPECT_EQ(answer.message, "") << "templates do not see it";
  EXPECT_EQ(std::get<RowFault>(parsed("-2")).message, "messages.1.weight is -2, not a weight");
  EXPECT_EQ(std::get<RowFault>(parsed("\"x\"")).reason, "malformed messages");
}

TEST(RowParser, AMarkerThatTheDataSpellsIsStrippedOnce) {
  DataSource source = source_of(RowFormat::kRecords);
  source.strip_suffix = "<|end|>";
  EXPECT_EQ(parse(source, test::record_template(), R"({"q": "x", "a": "y<|end|>"})").text, "x>[y]");
  EXPECT_EQ(parse(source, test::record_template(), R"({"q": "x", "a": "<|end|>"})").fault.reason,
            "empty completion");
}

RowFormat detect(const std::string& name, const std::string& content,
                 const PromptTemplate& prompt) {
  const test::TempDir dir;
  DataSource source;
  source.path = dir.write(name, content).string();
  return detect_format(source, prompt);
}

TEST(DetectFormat, ByNameAndFirstRow) {
  EXPECT_EQ(detect("f.txt", "words", test::record_template()), RowFormat::kText);
  EXPECT_EQ(detect("f.jsonl", R"({"q": "x", "a": "y", "messages": [], "text": "z"})",
                   test::record_template()),
            RowFormat::kRecords);
  EXPECT_EQ(detect("f.jsonl", R"({"q": "x", "messages": []})", test::record_template()),
            RowFormat::kMessages);
  EXPECT_EQ(detect("f.jsonl", R"({"text": "x"})", test::record_template()), RowFormat::kText);
  EXPECT_EQ(detect("f.jsonl", "oops\n{\"text\": \"x\"}", test::record_template()), RowFormat::kText)
      << "a faulty first row is reported when it is read";
  PromptConfig config;
  config.prompt = "";
  config.completion = "{text}";
  EXPECT_EQ(detect("f.jsonl", R"({"text": "x"})", PromptTemplate(config)), RowFormat::kText);
}

TEST(DetectFormat, Faults) {
  const auto error = [](const std::string& content) {
    return test::error_of([&] { detect("f.jsonl", content, test::record_template()); });
  };
  EXPECT_NE(error(R"({"question": "x"})").find("f.jsonl:1: cannot tell what the rows are"),
            std::string::npos);
  EXPECT_NE(error(R"({"question": "x"})").find("the row has question"), std::string::npos);
  EXPECT_NE(error("\n[1,2]\n").find("f.jsonl:2: the row is a list"), std::string::npos);
  EXPECT_NE(error("{\"a\" 1}").find("f.jsonl:1:6: bad JSON"), std::string::npos)
      << error("{\"a\" 1}");
  EXPECT_NE(error("\n \n").find("the file has no rows"), std::string::npos);
}

TEST(RowParser, TxtFilesAreNoRecords) {
  DataSource source = source_of(RowFormat::kRecords);
  source.path = "rows.txt";
  EXPECT_NE(
      test::error_of([&] { RowParser(source, test::record_template()); }).find("holds plain text"),
      std::string::npos);
}

}  // namespace
}  // namespace continuo
