#include "data/conversation_row.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace continuo {
namespace {

using Row = nlohmann::ordered_json;

Conversation conversation_in(const std::string& row, const std::string& path = "messages",
                             const std::string& suffix = {}) {
  const auto parsed = conversation_of(Row::parse(row), path, suffix);
  if (const auto* fault = std::get_if<RowFault>(&parsed)) {
    ADD_FAILURE() << fault->message;
    return {};
  }
  return std::get<Conversation>(parsed);
}

std::string fault_in(const std::string& messages, const std::string& more = {}) {
  const auto parsed =
      conversation_of(Row::parse("{\"messages\": " + messages + more + "}"), "messages");
  const auto* fault = std::get_if<RowFault>(&parsed);
  return fault ? fault->message : "(no fault)";
}

TEST(ConversationRow, RolesAndContentsAlone) {
  const Conversation c = conversation_in(
      R"({"messages": [{"role": "user", "content": "u"}, {"content": "a", "role": "assistant"}]})");
  ASSERT_EQ(c.turns.size(), 2U);
  EXPECT_EQ(c.turns[1].role, "assistant");
  EXPECT_EQ(c.turns[1].content, "a");
  EXPECT_EQ(c.turns[0].message + c.turns[1].message + c.tools, "") << "nothing more to say";
}

TEST(ConversationRow, WhatATemplateMayReadIsKeptInItsOrder) {
  const Conversation c = conversation_in(
      R"({"tools": [{"b": 1, "a": 1.50}], "messages": [
          {"role": "assistant", "content": null, "tool_calls": [{"name": "f", "arguments": "{}"}]},
          {"role": "tool", "content": "r", "tool_call_id": "1"},
          {"role": "assistant", "reasoning_content": "t", "content": "a"}]})");
  EXPECT_EQ(c.tools, R"([{"b":1,"a":1.5}])");
  ASSERT_EQ(c.turns.size(), 3U);
  EXPECT_TRUE(c.turns[0].calls_tools);
  EXPECT_EQ(c.turns[0].content, "");
  EXPECT_EQ(c.turns[1].message, R"({"role":"tool","content":"r","tool_call_id":"1"})");
  EXPECT_FALSE(c.turns[2].calls_tools);
  EXPECT_EQ(c.turns[2].message, R"({"role":"assistant","reasoning_content":"t","content":"a"})");
  EXPECT_EQ(
      conversation_in(R"({"messages": [{"role": "user", "content": ""}], "tools": "[1]"})").tools,
      "[1]")
      << "tools as JSON in a string";
  EXPECT_EQ(
      conversation_in(R"({"messages": [{"role": "user", "content": ""}], "tools": null})").tools,
      "");
}

TEST(ConversationRow, ContentInParts) {
  const Conversation c = conversation_in(
      R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"},
                                                    {"type": "text", "text": "b<end>"}]}]})",
      "messages", "<end>");
  EXPECT_EQ(c.turns[0].content, "ab");
  EXPECT_EQ(c.turns[0].message,
            R"({"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]})");
}

TEST(ConversationRow, TheSuffixGoesFromEveryContent) {
  const Conversation c = conversation_in(
      R"({"messages": [{"role": "user", "content": "u<e>", "name": "n"},
                       {"role": "assistant", "content": "a<e>"}]})",
      "messages", "<e>");
  EXPECT_EQ(c.turns[0].message, R"({"role":"user","content":"u","name":"n"})");
  EXPECT_EQ(c.turns[1].content, "a");
}

TEST(ConversationRow, PathsLeadIntoTheRow) {
  const std::string turns = R"([{"role": "user", "content": "u"}])";
  EXPECT_EQ(conversation_in("{\"a\": {\"b.c\": [" + turns + "]}}", "a.b.c.0").turns.size(), 1U);
  EXPECT_EQ(conversation_in("{\"a.b\": " + turns + "}", "a.b").turns.size(), 1U);
}

// Read without a tree of the row, it is the same conversation, or nothing.
TEST(ConversationRow, PlainRowsNeedNoTree) {
  const auto plain = [](const std::string& json) {
    return plain_conversation_of(std::get<JsonRow>(parse_json_row(json)), "a.turns", "<e>");
  };
  const std::string row =
      R"({"a": {"turns": [{"role": "user", "content": "u<e>"}, {"content": "\u00e9", "role": "assistant"}]}})";
  const auto turns = plain(row);
  ASSERT_TRUE(turns);
  const Conversation expected = conversation_in(row, "a.turns", "<e>");
  ASSERT_EQ(turns->turns.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(turns->turns[i].role, expected.turns[i].role);
    EXPECT_EQ(turns->turns[i].content, expected.turns[i].content);
    EXPECT_EQ(turns->turns[i].message, "");
  }
  for (const char* turn :
       {"3", R"({"role": "user"})", R"({"role": "robot", "content": "x"})",
        R"({"role": "user", "content": "x", "name": "n"})", R"({"role": "user", "content": ["x"]})",
        R"({"role": "user", "content": null})"}) {
    EXPECT_FALSE(plain(R"({"a": {"turns": [)" + std::string(turn) + "]}}")) << turn;
  }
  EXPECT_FALSE(plain(R"({"tools": [1], "a": {"turns": [{"role": "user", "content": "u"}]}})"));
  EXPECT_FALSE(plain(R"({"a": {"turns": []}})"));
}

TEST(ConversationRow, Faults) {
  EXPECT_EQ(fault_in("3"), "field messages is a number, not a list of turns");
  EXPECT_EQ(fault_in(R"([{"role": "assistant", "tool_calls": []}])"), "messages.0 has no content");
  EXPECT_EQ(fault_in(R"([{"role": "assistant", "tool_calls": {}}])"),
            "messages.0.tool_calls is an object, not a list");
  EXPECT_EQ(fault_in(R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])"),
            "messages.0.tool_calls.0 does not name its function");
  EXPECT_EQ(fault_in(R"([{"role": "user", "content": [{"type": "image"}]}])"),
            "messages.0.content.0 is no part with text");
  EXPECT_EQ(fault_in(R"([{"role": "user", "content": 1}])"),
            "messages.0.content is a number, not a string");
  const std::string turn = R"([{"role": "user", "content": "u"}])";
  for (const char* tools : {"3", "{}", "\"no JSON\""}) {
    EXPECT_EQ(fault_in(turn, std::string(", \"tools\": ") + tools),
              "tools is no list of JSON schemas");
  }
}

}  // namespace
}  // namespace continuo
