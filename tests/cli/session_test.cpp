// What input means, and what commands do to the transcript.
#include "cli/session.h"

#include <gtest/gtest.h>

namespace continuo {
namespace {

TEST(ParseCommand, SplitsNameAndArgument) {
  const auto command = parse_command("/set  top_p=0.9 ");
  ASSERT_TRUE(command);
  EXPECT_EQ(command->name, "set");
  EXPECT_EQ(command->argument, "top_p=0.9");
}

TEST(ParseCommand, TextIsNoCommand) {
  EXPECT_FALSE(parse_command("a /set"));
  EXPECT_FALSE(parse_command("//usr/bin"));
  EXPECT_FALSE(parse_command("/set a=1\nmore"));
  EXPECT_FALSE(parse_command(""));
}

std::string message_of(std::string_view input) {
  try {
    parse_command(input);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(ParseCommand, NamesFaults) {
  EXPECT_NE(message_of("/udno").find("did you mean /undo?"), std::string::npos);
  EXPECT_NE(message_of("/").find("/help"), std::string::npos);
  EXPECT_NE(message_of("/undo 3").find("takes no argument"), std::string::npos);
  EXPECT_NE(message_of("/save").find("needs an argument"), std::string::npos);
}

TEST(InputAssembler, LinesAreInputs) {
  InputAssembler assembler;
  const auto input = assembler.push("one");
  ASSERT_TRUE(input);
  EXPECT_EQ(input->text, "one");
  EXPECT_FALSE(input->block);
}

TEST(InputAssembler, BackslashGoesOn) {
  InputAssembler assembler;
  EXPECT_FALSE(assembler.push("one\\"));
  EXPECT_TRUE(assembler.continuing());
  EXPECT_FALSE(assembler.push("\\"));
  EXPECT_EQ(assembler.push("three")->text, "one\n\nthree");
  EXPECT_FALSE(assembler.continuing());
}

TEST(InputAssembler, BlocksAreTakenAsTheyAre) {
  InputAssembler assembler;
  EXPECT_FALSE(assembler.push(R"(""")"));
  EXPECT_FALSE(assembler.push("/quit\\"));
  EXPECT_FALSE(assembler.push(""));
  const auto input = assembler.push(R"(end""")");
  ASSERT_TRUE(input);
  EXPECT_EQ(input->text, "/quit\\\n\nend");
  EXPECT_TRUE(input->block);
  EXPECT_EQ(assembler.push(R"("""one line""")")->text, "one line");
}

TEST(InputAssembler, ClearForgetsAnOpenBlock) {
  InputAssembler assembler;
  assembler.push(R"("""lost)");
  assembler.clear();
  EXPECT_FALSE(assembler.continuing());
  EXPECT_EQ(assembler.push("next")->text, "next");
}

void exchange(Session& session, const std::string& prompt, const std::string& answer) {
  session.answered(session.ask(prompt), {answer}, "eos");
}

TEST(Session, InputsAreIndependentWithoutChat) {
  Session session({});
  exchange(session, "a", "A");
  EXPECT_EQ(std::get<std::string>(session.ask("b").input.content), "b");
}

TEST(Session, ChatRendersItsOwnTurnsOnly) {
  Session session({});
  exchange(session, "before", "x");
  session.set_chat(true);
  exchange(session, "a", "A");
  const Session::Request request = session.ask("b");
  const auto& turns = std::get<Conversation>(request.input.content).turns;
  ASSERT_EQ(turns.size(), 3U);
  EXPECT_EQ(turns[0].content, "a");
  EXPECT_EQ(turns[1].role, "assistant");
  EXPECT_EQ(turns[1].content, "A");
  EXPECT_EQ(turns[2].content, "b");
}

TEST(Session, RegenerateCountsTheSeedUpAndReplaces) {
  GenerationConfig settings;
  settings.seed = 7;
  Session session(settings);
  EXPECT_THROW(session.regenerate(), Error);
  exchange(session, "a", "A");
  EXPECT_EQ(session.regenerate().settings.seed, 8);
  session.answered(session.regenerate(), {"B"}, "length");
  ASSERT_EQ(session.transcript().exchanges.size(), 1U);
  EXPECT_EQ(session.transcript().exchanges[0].answers.front(), "B");
  EXPECT_EQ(session.regenerate().settings.seed, 9);
  EXPECT_EQ(session.ask("b").settings.seed, 7);
}

TEST(Session, RegenerateLeavesTheAnswerOutOfTheConversation) {
  Session session({});
  session.set_chat(true);
  exchange(session, "a", "A");
  const Session::Request request = session.regenerate();
  EXPECT_EQ(std::get<Conversation>(request.input.content).turns.size(), 1U);
}

TEST(Session, UndoDropsTheLast) {
  Session session({});
  EXPECT_THROW(session.undo(), Error);
  exchange(session, "a", "A");
  exchange(session, "b", "B");
  EXPECT_EQ(session.undo().prompt, "b");
  EXPECT_EQ(session.transcript().exchanges.size(), 1U);
}

}  // namespace
}  // namespace continuo
