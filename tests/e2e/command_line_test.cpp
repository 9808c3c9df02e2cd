// What `continuo` says of itself, without a model.
#include <cstdio>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "e2e/binary.h"

namespace continuo {
namespace {

TEST(CommandLine, TheVersionNamesWhatDecidesTheBits) {
  const TempDir directory;
  const Outcome outcome = run(directory, {"--version"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(outcome.out.starts_with("continuo " CONTINUO_VERSION "\nLibTorch 2.")) << outcome.out;
  EXPECT_NE(outcome.out.find("\ninstruction set "), std::string::npos) << outcome.out;
}

TEST(CommandLine, OutputThatCannotBeWrittenIsAnError) {
  const TempDir directory;
  const fs::path messages = directory / "messages";
  const int status = std::system(
      fmt::format("'{}' --help >/dev/full 2>'{}'", CONTINUO_BINARY, messages.string()).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_EQ(test::read_file(messages), "error: standard output cannot be written\n");
}

// What bash would offer after the words, the last of which is being typed.
std::string offered(const TempDir& directory, const std::string& words, int count) {
  const std::string script =
      fmt::format("source {}; COMP_WORDS=({}); COMP_CWORD={}; _continuo; echo ${{COMPREPLY[*]}}",
                  (directory / "completion.bash").string(), words, count - 1);
  FILE* shell = popen(fmt::format("bash -c '{}'", script).c_str(), "r");
  std::string text;
  for (int c; (c = std::fgetc(shell)) != EOF;) text += static_cast<char>(c);
  EXPECT_EQ(pclose(shell), 0);
  return text;
}

TEST(CommandLine, BashCompletesCommandsOptionsAndValues) {
  const TempDir directory;
  directory.write("completion.bash", run(directory, {"completion", "bash"}).out);
  EXPECT_EQ(offered(directory, "continuo toke", 2), "tokenizer\n");
  EXPECT_EQ(offered(directory, "continuo -q tokenizer enc", 4), "encode\n");
  EXPECT_EQ(offered(directory, "continuo merge --dt", 3), "--dtype\n");
  EXPECT_EQ(offered(directory, "continuo merge --dtype b", 4), "bf16\n");
  EXPECT_EQ(offered(directory, "continuo merge dir", 3), "\n");
}

TEST(CommandLine, ZshTakesTheCompletionToo) {
  const TempDir directory;
  const Outcome outcome = run(directory, {"completion", "zsh"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(outcome.out.starts_with("#compdef continuo\n"));
  EXPECT_NE(outcome.out.find("candidates='train encode decode inspect"), std::string::npos)
      << outcome.out;
}

}  // namespace
}  // namespace continuo
