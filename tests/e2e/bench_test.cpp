// `continuo bench`: every subcommand runs and says what it promises; figures that can be counted
// are right.
#include <cmath>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "e2e/binary.h"

namespace continuo {
namespace {

const std::vector<std::string> kTinyModel = {
    "threads=1",        "model.layers=2",        "model.hidden=32", "model.heads=4",
    "model.kv_heads=2", "model.intermediate=48", "vocabulary=61"};

// The lines of `continuo bench WORDS…`; each must say on what it was measured.
std::vector<nlohmann::json> bench(const TempDir& directory, std::vector<std::string> words,
                                  const std::vector<std::string>& more = {}) {
  words.insert(words.begin(), {"-q", "bench"});
  words.insert(words.end(), more.begin(), more.end());
  const Outcome outcome = run(directory, words);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  std::vector<nlohmann::json> lines;
  std::istringstream text(outcome.out);
  for (std::string line; std::getline(text, line);) {
    lines.push_back(nlohmann::json::parse(line));
    for (const char* key : {"system", "what", "torch", "cpu", "isa", "threads", "peak_rss_gb"}) {
      EXPECT_TRUE(lines.back().contains(key)) << key << " is missing in " << line;
    }
  }
  return lines;
}

TEST(Bench, TrainingCountsTheWorkOfAStep) {
  const TempDir directory;
  const auto lines = bench(directory,
                           {"train", "rows=3", "prompt_tokens=4", "completion_tokens=7", "steps=1",
                            "warmup=0", "micro_tokens=20", "roof=false"},
                           kTinyModel);
  ASSERT_EQ(lines.size(), 1u);
  const nlohmann::json& line = lines[0];
  const double seconds = line["step_seconds"][0];
  const double layer = 32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 48;  // q; k and v; output; MLP
  const double expected = 30 * 6 * 2 * layer + 21 * 6.0 * 61 * 32 + 3 * 2 * 4 * 6.0 * 10 * 11 * 8;
  EXPECT_NEAR(line["gflop_per_s"].get<double>() * 1e9 * seconds, expected, 1e-6 * expected);
  EXPECT_NEAR(line["real_tokens_per_s"].get<double>() * seconds, 33, 1e-6);
  EXPECT_NEAR(line["trained_tokens_per_s"].get<double>() * seconds, 21, 1e-6);
  EXPECT_NEAR(line["loss"][0].get<double>(), std::log(61), 0.5);
}

// Steps after a prompt of 16 and 4 new tokens read the keys and values of 18 tokens in the mean.
double bytes_of_cache(int64_t batch, int64_t layers, int64_t kv_width) {
  return static_cast<double>(18 * batch * layers * 2 * kv_width * 4);
}

std::vector<nlohmann::json> bench_generate(const std::vector<std::string>& more) {
  const TempDir directory;
  const auto lines = bench(
      directory,
      {"generate", "batches=[1, 2]", "prefill=8", "new_tokens=4", "repeats=1", "roof=false"}, more);
  EXPECT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines.at(0)["what"], "prefill");
  EXPECT_EQ(lines.at(2)["batch"], 2);
  for (const nlohmann::json& line : {lines.at(1), lines.at(2)}) {
    // Of the time between the first token and the last, drawing tokens takes a part.
    const double steps_per_s =
        line["decode_tokens_per_s"].get<double>() / line["batch"].get<double>();
    EXPECT_GE(line["read_gb_per_s"].get<double>() * 1e9,
              0.999 * steps_per_s * line["step_mb"].get<double>() * 1e6);
  }
  return lines;
}

TEST(Bench, GenerationCountsWhatAStepReads) {
  const auto lines = bench_generate(kTinyModel);
  // The panels of the down projection's 48 inputs are padded to 64, those of the 61 tokens to 64.
  const double weights =
      4 * (2 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + 2 * 32 * 48 + 32 * 64) + 64 * 32);
  for (const int64_t batch : {1, 2}) {
    const double found = lines.at(static_cast<size_t>(batch))["step_mb"].get<double>() * 1e6 -
                         bytes_of_cache(batch, 2, 16);
    // Where the kernels hold float32 in fewer bits, down to three quarters of it.
    EXPECT_LT(found, weights + 1e-3);
    EXPECT_GT(found, weights * 3 / 4);
  }
}

TEST(Bench, GenerationCountsThePackedWeightsThatAStepReads) {
  const auto lines =
      bench_generate({"threads=1", "model.layers=2", "model.hidden=64", "model.heads=4",
                      "model.kv_heads=2", "model.intermediate=48", "vocabulary=61", "weights=q8"});
  // 32 weights lie in 34 bytes; qkv, output, gate beside up and down, then the head.
  const double weights = 34.0 / 32 * (2 * (128 * 64 + 64 * 64 + 96 * 64 + 64 * 64) + 64 * 64);
  for (const int64_t batch : {1, 2}) {
    EXPECT_NEAR(lines.at(static_cast<size_t>(batch))["step_mb"].get<double>() * 1e6,
                weights + bytes_of_cache(batch, 2, 32) / 2, 1e-3)
        << "beside weights of 8 bits the cache is bfloat16";
  }
}

// GPT-2 stores query, key and value in one matrix, and every matrix transposed.
TEST(Bench, LayersThatAFamilyStoresFusedCountToo) {
  const std::vector<std::string> gpt2 = {
      "threads=1",     "model.family=gpt2", "model.layers=2",        "model.hidden=32",
      "model.heads=4", "model.kv_heads=4",  "model.intermediate=48", "model.context=128",
      "vocabulary=61"};
  const double layer = 4 * 32 * 32 + 2 * 32 * 48;
  const double packed = 4 * (2 * (4 * 32 * 32 + 32 * 64 + 32 * 64) + 64 * 32),
               found = bench_generate(gpt2)[1]["step_mb"].get<double>() * 1e6 -
                       bytes_of_cache(1, 2, 32);
  EXPECT_LT(found, packed + 1e-3);
  EXPECT_GT(found, packed * 3 / 4);

  const TempDir directory;
  const auto lines = bench(directory,
                           {"train", "rows=3", "prompt_tokens=4", "completion_tokens=7", "steps=1",
                            "warmup=0", "roof=false"},
                           gpt2);
  ASSERT_EQ(lines.size(), 1u);
  const double expected = 30 * 6 * 2 * layer + 21 * 6.0 * 61 * 32 + 3 * 2 * 4 * 6.0 * 10 * 11 * 8;
  const double seconds = lines[0]["step_seconds"][0];
  EXPECT_NEAR(lines[0]["gflop_per_s"].get<double>() * 1e9 * seconds, expected, 1e-6 * expected);
}

TEST(Bench, RowsOfAFileTrainAdaptersToo) {
  const TempDir directory;
  std::string rows;
  for (int i = 0; i < 60; ++i) {
    rows += nlohmann::json({{"q", "What is " + std::to_string(i) + " plus one?"},
                            {"a", "It is " + std::to_string(i + 1) + ", of course."}})
                .dump() +
            "\n";
  }
  directory.write("rows.jsonl", rows);
  directory.write("x.yaml", R"(run_dir: run
threads: 1
tokenizer: {train: {inputs: [{path: rows.jsonl, fields: [q, a]}], vocab_size: 290}}
model: {layers: 1, hidden: 32, heads: 2, context: 128}
prompt: {prompt: "{q}\n", completion: "{a}"}
data: {train: [{path: rows.jsonl}], cache: cache}
train: {steps: 1}
)");
  const Outcome run_before = run(directory, {"train", "x.yaml"});
  ASSERT_EQ(run_before.code, 0) << run_before.err;
  const std::vector<std::string> data = {"data=rows.jsonl", "prompt=\"{q}\\n\"",
                                         "completion=\"{a}\""};
  const auto trained = bench(directory,
                             {"train", "--model", "run", "threads=1", "rows=4", "steps=2",
                              "warmup=1", "lr=1e-2", "lora.rank=2", "cache=cache", "roof=false"},
                             data);
  ASSERT_EQ(trained.size(), 1u);
  EXPECT_EQ(trained[0]["lora_rank"], 2);
  ASSERT_EQ(trained[0]["loss"].size(), 3u);  // warm-up included
  const auto prepared = bench(directory, {"data", "run"}, data);
  ASSERT_EQ(prepared.size(), 1u);
  EXPECT_EQ(prepared[0]["rows"], 60);
  EXPECT_GT(prepared[0]["cold_seconds"], 0);

  const Outcome without = run(directory, {"bench", "train", "data=rows.jsonl"});
  EXPECT_EQ(without.code, 1);
  EXPECT_NE(without.err.find("--model"), std::string::npos) << without.err;
}

TEST(Bench, StreamsTellWhatAPromptCostsThemAndThemIt) {
  const TempDir directory;
  const auto lines = bench(directory,
                           {"streams", "streams=3", "prompt=60", "steps=5", "rounds=3",
                            "prefill_chunk=16", "slowdown=2"},
                           kTinyModel);
  ASSERT_EQ(lines.size(), 1u);
  const nlohmann::json& line = lines[0];
  EXPECT_EQ(line["streams"], 3);
  // A pass takes at most a chunk of the prompt, and the last one draws its first token.
  EXPECT_GE(line["passes"].get<int>(), 3 * 4);
  EXPECT_LE(line["passes"].get<int>(), 3 * 60);
  for (const char* key : {"undisturbed_gap_ms", "gap_p99_ms", "prompt_alone_tokens_per_s"})
    EXPECT_GT(line[key], 0) << key;
  for (const std::string key : {"gap_p99_ratio", "prompt_share"}) {
    const nlohmann::json& range = line[key + "_range"];
    EXPECT_GT(range[0], 0) << key;
    EXPECT_LE(range[0], line[key]) << key;
    EXPECT_LE(line[key], range[1]) << key;
  }
}

TEST(Bench, ProductsOfATrainingStepStandBesideMultiplyAdds) {
  const TempDir directory;
  const auto lines = bench(directory, {"products", "threads=1", "rows=[16]", "hidden=32",
                                       "intermediate=48", "vocabulary=61", "turns=1"});
  ASSERT_EQ(lines.size(), 4u * 3u);
  for (const nlohmann::json& line : lines) {
    EXPECT_EQ(line["what"], "training_product");
    EXPECT_EQ(line["rows"], 16);
    EXPECT_NEAR(line["share"].get<double>() * line["multiply_add_gflop_per_s"].get<double>(),
                line["gflop_per_s"].get<double>(), 1e-6 * line["gflop_per_s"].get<double>());
  }
  EXPECT_EQ(lines.back()["product"], "weight_gradient");
  EXPECT_EQ(lines.back()["out"], 61);
}

TEST(Bench, RoofsAreMeasured) {
  const TempDir directory;
  const auto lines = bench(
      directory, {"roof", "threads=1", "rows=16", "hidden=32", "intermediate=48", "seconds=0.01"});
  ASSERT_EQ(lines.size(), 8u);  // three shapes in two types, reading, multiply-adds
  for (const nlohmann::json& line : lines) {
    const char* unit = line["what"] == "read" ? "gb_per_s" : "gflop_per_s";
    EXPECT_GE(line[unit].get<double>(), line[std::string(unit) + "_median"].get<double>());
    EXPECT_GT(line[unit], 0);
  }
}

TEST(Bench, RanksSayWhatOtherNumbersOfThemWouldWaitFor) {
  const TempDir directory;
  const auto measured = [&](const std::string& link, const std::string& message) {
    return bench(directory,
                 {"ranks", "ranks=2", "rows=4", "row_tokens=16", "steps=1", "link_gb_per_s=" + link,
                  "message_us=" + message},
                 kTinyModel);
  };
  const auto ideal = measured("1e12", "1e-9"), slow = measured("1e12", "1e9");
  ASSERT_EQ(ideal.size(), 4u);
  EXPECT_EQ(ideal[0]["what"], "ranks");
  EXPECT_EQ(ideal[0]["ranks"], 2);
  EXPECT_EQ(ideal[0]["tokens"], 4 * 15);
  EXPECT_GT(ideal[0]["sums_seconds"].get<double>(), 0);
  for (size_t i = 1; i < ideal.size(); ++i) {
    EXPECT_EQ(ideal[i]["what"], "ranks.predicted");
    EXPECT_EQ(ideal[i]["scaling"].back()["ranks"], 4096);
    for (const auto& few : ideal[i]["scaling"]) {
      EXPECT_LT(few["waiting_share"].get<double>(), 1e-3);
      EXPECT_GT(few["efficiency"].get<double>(), 0.99);
    }
    for (const auto& few : slow[i]["scaling"]) EXPECT_GT(few["latency_share"].get<double>(), 0.99);
  }
}

TEST(Bench, RanksAreMeasuredInEveryStageAndDtype) {
  const TempDir directory;
  for (const char* shard : {"none", "optimizer", "all"}) {
    for (const char* dtype : {"fp32", "bf16"}) {
      const auto lines = bench(directory,
                               {"ranks", "ranks=2", "rows=4", "row_tokens=16", "steps=2",
                                std::string("shard=") + shard, std::string("dtype=") + dtype},
                               kTinyModel);
      ASSERT_EQ(lines.size(), 4u) << shard << ", " << dtype;
      EXPECT_EQ(lines[0]["shard"], shard);
      EXPECT_GT(lines[0]["step_seconds"].get<double>(), 0);
    }
  }
}

}  // namespace
}  // namespace continuo
