// `continuo -v`: commands say what they chose and what they found, and only then.
#include <gtest/gtest.h>

#include "e2e/binary.h"

namespace continuo {
namespace {

constexpr const char* kDebug = "debug: ";

void expect_said(const Outcome& outcome, const std::vector<std::string>& lines) {
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  for (const std::string& line : lines) {
    EXPECT_NE(outcome.err.find(kDebug + line), std::string::npos)
        << "\"" << line << "\" is not in:\n"
        << outcome.err;
  }
}

TEST(Verbose, CommandsSayWhatTheyChoseAndFound) {
  const TempDir directory;
  std::string rows;
  for (int i = 0; i < 60; ++i) {
    const std::string number = std::to_string(i), next = std::to_string(i + 1);
    rows += R"({"prompt": "What is )" + number + R"( plus one?", "completion": "It is )" + next +
            R"(, of course."})" + "\n";
  }
  directory.write("rows.jsonl", rows);
  directory.write("x.yaml", R"(run_dir: run
threads: 2
device: cpu
tokenizer: {train: {inputs: [{path: rows.jsonl, fields: [prompt, completion]}], vocab_size: 290}}
model: {layers: 1, hidden: 32, heads: 2, context: 64}
data: {train: [{path: rows.jsonl}], cache: cache}
train: {steps: 2}
)");
  expect_said(run(directory, {"-v", "train", "x.yaml"}),
              {"computing on cpu in fp32 with 2 threads; the CPU's kernels are those for ",
               "the tokenized rows are kept in ", "step 2: saved "});
  expect_said(
      run(directory, {"-v", "train", "x.yaml", "--resume", "train.steps=3"}),
      {"the tokenizer was trained before: ", "the rows were tokenized before: ", "step 3: saved "});

  const std::vector<std::string> generate = {
      "generate",         "run",       "--raw", "--prompt", "one",
      "max_new_tokens=3", "--weights", "q8",    "--device", "cpu"};
  std::vector<std::string> aloud = generate;
  aloud.insert(aloud.begin(), "-v");
  const Outcome said = run(directory, aloud), silent = run(directory, generate);
  expect_said(
      said, {"computing on cpu in fp32", "run/checkpoints/step-00000003: the tokenizer is that of ",
             "the CPU's engine serves: 0.0 MB of packed q8 panels"});
  EXPECT_EQ(silent.code, 0) << silent.err;
  EXPECT_EQ(silent.err.find(kDebug), std::string::npos) << silent.err;
  EXPECT_EQ(said.out, silent.out);
}

}  // namespace
}  // namespace continuo
