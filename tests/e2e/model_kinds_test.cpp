// Every command that takes a model takes each kind of it: a directory, a .gguf file, an adapter, a
// run. The model opens texts with BOS, and everything that is made of it does too.
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "e2e/binary.h"

namespace continuo {
namespace {

using nlohmann::json;

constexpr const char* kText = "Name the red house.";

class ModelKinds : public testing::Test {
 protected:
  ModelKinds() {
    const fs::path golden = fs::path(CONTINUO_SOURCE_DIR) / "tests/golden/old_run";
    fs::copy(golden / "base", directory_ / "base", fs::copy_options::recursive);
    fs::copy_file(golden / "rows.jsonl", directory_ / "rows.jsonl");
    must({"convert", "base", "--to", "gguf", "--type", "f32", "--out", "base.gguf"});
  }

  Outcome must(const std::vector<std::string>& words) const {
    Outcome outcome = run(directory_, words);
    EXPECT_EQ(outcome.code, 0) << words[0] << " " << words[1] << ": " << outcome.err;
    return outcome;
  }
  json generated(const std::string& model, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {"generate", model,    "--json",          "--prompt",
                                      kText,      "seed=3", "max_new_tokens=8"};
    words.insert(words.end(), more.begin(), more.end());
    return json::parse(must(words).out);
  }
  std::vector<int64_t> prompt_ids(const std::string& model) const {
    return generated(model)["prompt_tokens"];
  }
  // A run of two steps that starts from `model`.
  Outcome train(const std::string& run_dir, const std::string& model, const std::string& more = "",
                const std::string& data = "") const {
    directory_.write(run_dir + ".yaml",
                     "run_dir: " + run_dir + "\nthreads: 1\ndevice: cpu\nmodel: {from: " + model +
                         "}\ndata: {train: [{path: rows.jsonl}], cache: cache" + data +
                         "}\n"
                         "train: {steps: 2}\nbatch: {rows: 4}\n" +
                         more);
    return must({"train", run_dir + ".yaml"});
  }

  TempDir directory_;
};

TEST_F(ModelKinds, FilesOfBlocksGoByRows) {
  const std::vector<std::string> plain = {"convert", "base", "--to", "gguf", "--type", "q4_1"};
  const auto with = [&](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const std::vector<std::string> by_rows = {"--calibrate", "rows.jsonl", "data.cache=cache"};
  must(with(plain, {"--out", "nearest.gguf"}));
  must(with(with(plain, by_rows), {"--out", "calibrated.gguf"}));
  const std::string nearest = test::read_file(directory_ / "nearest.gguf");
  const std::string calibrated = test::read_file(directory_ / "calibrated.gguf");
  EXPECT_EQ(nearest.size(), calibrated.size());
  EXPECT_NE(nearest, calibrated);
  EXPECT_EQ(prompt_ids("calibrated.gguf"), prompt_ids("base"));

  const auto refused = [&](const std::vector<std::string>& words, const std::string& why) {
    const Outcome outcome = run(directory_, words);
    EXPECT_EQ(outcome.code, 1);
    EXPECT_NE(outcome.err.find(why), std::string::npos) << outcome.err;
    EXPECT_FALSE(fs::exists(directory_ / "none.gguf"));
  };
  refused(with({"convert", "base", "--to", "gguf", "--out", "none.gguf"}, by_rows),
          "there are none to choose");
  refused(with(plain, {"--out", "none.gguf", "--calibrate", "nothing.jsonl"}), "nothing.jsonl");
  refused(with(plain, {"--out", "none.gguf", "tokens=300"}), "tokens=300 is a setting of");
  refused(with(with(plain, by_rows), {"--out", "none.gguf", "token=3"}), "unknown key token");
}

TEST_F(ModelKinds, EveryCommandTakesEveryKind) {
  train("full", "base.gguf");
  train("adapter", "base.gguf", "lora: {rank: 2}\n");
  const std::vector<int64_t> expected = prompt_ids("base");
  ASSERT_EQ(expected.front(), 1);
  const std::string ids =
      must({"tokenizer", "encode", "base", kText}).out;  // of the text alone, without BOS
  for (const std::string model : {"base", "base.gguf", "full", "adapter"}) {
    SCOPED_TRACE(model);
    EXPECT_EQ(prompt_ids(model), expected);
    EXPECT_EQ(generated(model, {"--raw"})["prompt_tokens"].get<std::vector<int64_t>>(), expected);
    const json loss = json::parse(must({"eval", model, "--data", "rows.jsonl", "--json"}).out);
    EXPECT_GT(loss["loss"].get<double>(), 0);
    EXPECT_EQ(must({"tokenizer", "encode", model, kText}).out, ids);
    EXPECT_EQ(must({"tokenizer", "decode", model, "1", "2", "--special"}).out, "<s></s>");
    EXPECT_NE(must({"tokenizer", "inspect", model}).out.find("vocabulary"), std::string::npos);
    EXPECT_NE(must({"bench", "tokenize", model, "rows.jsonl", "repeats=1"}).out.find("tokens"),
              std::string::npos);
    const std::string shown = must({"inspect", model}).out;
    for (const char* line : {"opens with BOS        yes, 1 <s> (", "ends with             2 </s> (",
                             "prompt                "}) {
      EXPECT_NE(shown.find(line), std::string::npos) << shown;
    }
    const std::string held = must({"inspect", model, "--memory", "threads=1", "weights=q4"}).out;
    for (const char* line : {"matrices of the layers", "embedding and head, which are one",
                             "weights in all", "cache of a sequence of", "resident at most"}) {
      EXPECT_NE(held.find(line), std::string::npos) << held;
    }
    const json load =
        json::parse(must({"bench", "load", "--model", model, "threads=1", "repeats=1"}).out);
    EXPECT_GT(load["source_mb"].get<double>(), 0);
    EXPECT_GT(load["total_s"].get<double>(), load["pack_s"].get<double>());
    if (model != "adapter") {
      must({"bench", "generate", "--model", model, "threads=1", "new_tokens=2", "batches=[1]",
            "prefill=8", "repeats=1", "roof=false"});
    }
  }
  must({"inspect", "full.yaml"});
  EXPECT_NE(must({"generate", "base", "--beside", "base.gguf", "--prompt", kText})
                .out.find("[base.gguf]"),
            std::string::npos);
  EXPECT_EQ(generated("base.gguf", {"--draft", "base.gguf"})["text"],
            generated("base.gguf")["text"]);
}

TEST_F(ModelKinds, WhatIsMadeOfAModelOpensTextsAsItDoes) {
  const std::vector<int64_t> expected = prompt_ids("base");
  must({"convert", "base.gguf", "--to", "hf", "--out", "converted"});
  must({"convert", "converted", "--to", "gguf", "--type", "f32", "--out", "again.gguf"});
  train("adapter", "converted", "lora: {rank: 2}\n");
  must({"merge", "adapter", "--out", "merged"});
  for (const std::string model : {"converted", "again.gguf", "adapter", "merged"}) {
    EXPECT_EQ(prompt_ids(model), expected) << model;
  }
  // Where transformers looks.
  for (const std::string model : {"converted", "merged"}) {
    const json file = json::parse(test::read_file(directory_ / (model + "/tokenizer.json")));
    EXPECT_EQ(file["post_processor"]["single"][0]["SpecialToken"]["id"], "<s>");
    const json ends =
        json::parse(test::read_file(directory_ / (model + "/generation_config.json")));
    EXPECT_EQ(ends["eos_token_id"], 2) << ends;
  }
  EXPECT_EQ(generated("again.gguf")["text"], generated("base")["text"]);
}

TEST_F(ModelKinds, AdaptersTrainOnWeightsInFewBits) {
  must({"convert", "base", "--to", "gguf", "--type", "q8_0", "--out", "q8_0.gguf"});
  const auto train_on = [&](const std::string& run_dir, const std::string& model,
                            const std::string& weights) {
    const std::string told =
        train(run_dir, model, "lora: {rank: 2, base_weights: " + weights + "}\nsamples: [a b]\n",
              ", eval: [{path: rows.jsonl}]")
            .err;
    EXPECT_EQ(told.find("held-out tokens differs from training's") != std::string::npos,
              weights != "dtype")
        << told;
    double loss = 0;
    std::ifstream metrics(directory_ / (run_dir + "/metrics.jsonl"));
    for (std::string line; std::getline(metrics, line);)
      loss = json::parse(line).value("loss", loss);
    return loss;
  };
  const double exact = train_on("plain", "base", "dtype");
  const double four = train_on("four", "base", "q4"), file = train_on("file", "q8_0.gguf", "auto"),
               decoded = train_on("decoded", "q8_0.gguf", "dtype");
  EXPECT_NEAR(four, exact, 0.2);
  EXPECT_NE(four, exact);
  EXPECT_NEAR(file, decoded, 1e-5);  // the same values, read anew for every product
  // Four bits are remembered: what was trained on them is told when it is opened and merged.
  const std::string opened = must({"generate", "four", "--prompt", kText}).err;
  EXPECT_NE(opened.find("was trained on q4 weights"), std::string::npos) << opened;
  must({"generate", "four", "--prompt", kText, "--weights", "q4"});
  const std::string merged = must({"merge", "four", "--out", "merged-four"}).err;
  EXPECT_NE(merged.find("merged onto the weights in fp32"), std::string::npos) << merged;
  EXPECT_EQ(must({"merge", "file", "--out", "merged-file"}).err.find("was trained on the base in"),
            std::string::npos);
  directory_.write("wrong.yaml",
                   "run_dir: wrong\nmodel: {from: base}\ndata: {train: [{path: rows.jsonl}]}\n"
                   "lora: {rank: 2, base_weights: file}\n");
  const Outcome wrong = run(directory_, {"train", "wrong.yaml"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_NE(wrong.err.find("lora.base_weights: file is for GGUF files"), std::string::npos)
      << wrong.err;
}

TEST_F(ModelKinds, ATemplateOverrulesTheFilesAndTravels) {
  const std::vector<int64_t> opened = prompt_ids("base");
  const std::vector<int64_t> bare(opened.begin() + 1, opened.end());
  train("never", "base", "prompt: {bos: false}\n");
  EXPECT_EQ(prompt_ids("never"), bare);
  must({"convert", "never", "--to", "gguf", "--type", "f32", "--out", "never.gguf"});
  EXPECT_EQ(prompt_ids("never.gguf"), bare);
  const fs::path files = directory_ / "never/checkpoints/step-00000002";
  EXPECT_EQ(json::parse(test::read_file(files / "tokenizer_config.json"))["add_bos_token"], false);
  EXPECT_NE(must({"inspect", "never"}).out.find("opens with BOS        no (bos of "),
            std::string::npos);
}

TEST_F(ModelKinds, RawRecordsAreTexts) {
  directory_.write("p.jsonl", R"({"text": "Name the red house."})");
  const Outcome outcome =
      must({"generate", "base", "--raw", "--json", "--file", "p.jsonl", "max_new_tokens=1"});
  EXPECT_EQ(json::parse(outcome.out)["prompt_tokens"].get<std::vector<int64_t>>(),
            prompt_ids("base"));
}

}  // namespace
}  // namespace continuo
