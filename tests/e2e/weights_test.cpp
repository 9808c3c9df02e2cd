// Weights of rows and answers through the real binary: what they do to a step's loss and weights.
#include <algorithm>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "e2e/binary.h"
#include "io/safetensors.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

constexpr const char* kWords =
    "the quick brown fox jumps over a lazy dog and every vixen hears it: one, two, three, four, "
    "five; what is quick is brown, what is lazy is a dog, and the fox knows how far it can jump.";

struct Trained {
  double loss;  // of the only step, before it
  at::Tensor embedding;
};

// One step over all rows of a file; `source` are further keys of it.
Trained train_rows(const TempDir& directory, const std::string& name, const std::string& rows,
                   const std::string& source) {
  const auto count = std::count(rows.begin(), rows.end(), '\n');
  directory.write(name + ".jsonl", rows);
  directory.write("words.txt", kWords);
  directory.write("words.txt",
                  "the quick brown fox jumps over a lazy dog, and says: one two three");
  directory.write(name + ".yaml", fmt::format(R"(run_dir: {0}
threads: 1
device: cpu
tokenizer: {{train: {{inputs: [{{path: words.txt}}], vocab_size: 290}}}}
model: {{layers: 1, hidden: 32, heads: 2, context: 128}}
prompt: {{chat_template: "{{% for m in messages %}}{{{{ m.role }}}}: {{{{ m.content }}}};{{% endfor %}}"}}
data: {{train: [{{path: {0}.jsonl{1}}}], cache: cache}}
batch: {{rows: {2}}}
train: {{lr: 1e-2, steps: 1}}
)",
                                              name, source, count));
  const Outcome outcome = run(directory, {"train", name + ".yaml"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  std::ifstream metrics(directory / (name + "/metrics.jsonl"));
  std::string line;
  std::getline(metrics, line);
  const SafetensorsFile weights(directory /
                                (name + "/checkpoints/step-00000001/model.safetensors"));
  return {nlohmann::json::parse(line)["loss"].get<double>(),
          weights.tensor("model.embed_tokens.weight").clone()};
}

std::string talk(const std::string& answer, const std::string& more = "",
                 const std::string& of_answer = "") {
  return fmt::format(R"({{"messages": [{{"role": "user", "content": "one two"}}, )"
                     R"({{"role": "assistant", "content": "{}"{}}}]{}}})"
                     "\n",
                     answer, of_answer, more);
}

TEST(Weights, ARowOfTwoCountsAsItselfTwice) {
  const TempDir directory;
  const std::string fox = talk("the quick fox", R"(, "importance": 2)"), dog = talk("a lazy dog");
  const Trained twice = train_rows(directory, "twice", fox + fox + dog, ""),
                weighted = train_rows(directory, "weighted", fox + dog, ", row_weight: importance"),
                plain = train_rows(directory, "plain", fox + dog, "");
  EXPECT_NEAR(weighted.loss, twice.loss, 1e-5);
  EXPECT_LT(test::max_difference(weighted.embedding, twice.embedding), 1e-4);
  EXPECT_GT(std::abs(plain.loss - twice.loss), 1e-4);
  EXPECT_GT(test::max_difference(plain.embedding, twice.embedding), 1e-4);
}

TEST(Weights, AnAnswerOfZeroIsNotTrained) {
  const TempDir directory;
  const std::string fox = talk("the quick fox", "", R"(, "worth": 0)"), dog = talk("a lazy dog");
  const Trained without = train_rows(directory, "without", dog, ""),
                zero = train_rows(directory, "zero", fox + dog, ", turn_weight: worth");
  EXPECT_NEAR(zero.loss, without.loss, 1e-5);
  EXPECT_LT(test::max_difference(zero.embedding, without.embedding), 1e-4);
}

TEST(Weights, AWrongOneIsAnErrorWithItsPlace) {
  const TempDir directory;
  directory.write("words.txt", kWords);
  directory.write("rows.jsonl",
                  talk("a", R"(, "importance": 1)") + talk("b", R"(, "importance": -1)"));
  directory.write("x.yaml", R"(run_dir: run
tokenizer: {train: {inputs: [{path: words.txt}], vocab_size: 292}}
model: {layers: 1, hidden: 32, heads: 2, context: 128}
data: {train: [{path: rows.jsonl, row_weight: importance}], cache: cache}
)");
  const Outcome outcome = run(directory, {"train", "x.yaml"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("rows.jsonl:2"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("importance"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace continuo
