#include "models/store/adapter_file.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/variable.h>

#include "io/safetensors.h"
#include "models/store/save_model.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::max_difference;

const fs::path kGoldenDirectory = fs::path(CONTINUO_SOURCE_DIR) / "tests/golden";
const fs::path kAdapterBase = kGoldenDirectory / "tiny_llama";

RaggedInput golden_input() {
  const at::Tensor tokens =
      SafetensorsFile(kAdapterBase / "reference.safetensors").tensor("tokens");
  const auto* ids = tokens.const_data_ptr<int64_t>();
  return test::ragged({std::vector<int64_t>(ids, ids + tokens.numel())});
}

double relative_difference(const at::Tensor& value, const at::Tensor& expected) {
  return max_difference(value, expected) / expected.abs().max().item<double>();
}

class PeftGolden : public testing::TestWithParam<std::string> {};

TEST_P(PeftGolden, LossGradientsAndMergedLogitsAreThoseOfPeft) {
  const fs::path directory = kGoldenDirectory / "lora" / GetParam();
  const SafetensorsFile expected(directory / "reference.safetensors");
  const Model model = load_model(kAdapterBase, {.device = test::device()});
  AdapterSet adapters = load_adapters(model, adapter_base(directory), directory);
  const RaggedInput input = golden_input();
  const at::Tensor logits = model.decoder->logits(model.decoder->forward(input));
  EXPECT_LT(max_difference(logits, expected.tensor("logits")), 1e-4);
  constexpr int64_t kTrainedFrom = 6;
  const int64_t n = input.tokens.size(0);
  const at::Tensor loss =
      at::cross_entropy_loss(logits.narrow(0, kTrainedFrom - 1, n - kTrainedFrom),
                             input.tokens.narrow(0, kTrainedFrom, n - kTrainedFrom));
  EXPECT_LT(relative_difference(loss.detach().view({1}), expected.tensor("loss")), 1e-5);
  loss.backward();
  size_t compared = 0;
  for (const auto& [name, parameter] : adapter_parameters(adapters)) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    EXPECT_LT(relative_difference(parameter.grad(), expected.tensor("grad." + name)), 1e-4) << name;
    ++compared;
  }
  EXPECT_EQ(compared + 3, expected.tensors().size());

  merge_adapters(adapters);
  const c10::NoGradGuard no_grad;
  const at::Tensor merged = model.decoder->logits(model.decoder->forward(input));
  EXPECT_LT(relative_difference(merged, logits.detach()), 1e-5);
}

TEST_P(PeftGolden, AnAdapterSurvivesSavingAndLoading) {
  const fs::path directory = kGoldenDirectory / "lora" / GetParam();
  const Model model = load_model(kAdapterBase, {.device = test::device()});
  const AdapterSet adapters = load_adapters(model, kAdapterBase, directory);
  const test::TempDir saved;
  save_adapters(adapters, kAdapterBase, saved.path());
  EXPECT_TRUE(is_adapter_directory(saved.path()));
  EXPECT_EQ(adapter_base(saved.path()), kAdapterBase);
  // The file holds PEFT's names and bits.
  const auto ours = SafetensorsFile(saved / kAdapterWeightsFile).all();
  const auto theirs = SafetensorsFile(directory / kAdapterWeightsFile).all();
  ASSERT_EQ(ours.size(), theirs.size());
  for (const auto& [name, tensor] : theirs) {
    ASSERT_TRUE(ours.contains(name)) << name;
    EXPECT_TRUE(ours.at(name).equal(tensor)) << name;
  }
  const AdapterInfo info = read_adapter_config(saved.path());
  EXPECT_EQ(info.options.rank, adapters.options.rank);
  EXPECT_EQ(info.options.scaling(), adapters.options.scaling());
  EXPECT_EQ(info.options.dora, adapters.options.dora);
  const Model again = load_model(kAdapterBase, {.device = test::device()});
  const AdapterSet back = load_adapters(again, kAdapterBase, saved.path());
  const auto a = adapter_parameters(adapters), b = adapter_parameters(back);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].second.equal(b[i].second)) << a[i].first;
}
INSTANTIATE_TEST_SUITE_P(Variants, PeftGolden, testing::Values("lora", "rslora", "dora"),
                         [](const auto& test) { return test.param; });

std::string adapter_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// The golden adapter with one key changed.
std::string error_with(const std::string& key, const json& value) {
  const test::TempDir directory;
  json config = json::parse(test::read_file(kGoldenDirectory / "lora/lora/adapter_config.json"));
  config[key] = value;
  directory.write(kAdapterConfigFile, config.dump());
  return adapter_error([&] { read_adapter_config(directory.path()); });
}

TEST(AdapterFile, WhatChangesTheMathsIsRefusedByName) {
  EXPECT_EQ(error_with("task_type", "CAUSAL_LM"), "");
  EXPECT_EQ(error_with("init_lora_weights", "gaussian"), "");
  const std::vector<std::pair<std::string, json>> refused = {{"peft_type", "IA3"},
                                                             {"bias", "all"},
                                                             {"rank_pattern", {{"q_proj", 2}}},
                                                             {"fan_in_fan_out", true},
                                                             {"lora_bias", true},
                                                             {"use_qalora", true},
                                                             {"modules_to_save", {"lm_head"}},
                                                             {"init_lora_weights", "pissa"},
                                                             {"r", 0},
                                                             {"r", "4"},
                                                             {"lora_alpha", "x"},
                                                             {"use_new_variant", true},
                                                             {"layer_replication", {1}},
                                                             {"base_model_name_or_path", 3}};
  for (const auto& [key, value] : refused)
    EXPECT_NE(error_with(key, value).find(key), std::string::npos) << key;
}

TEST(AdapterFile, ABaseThatIsGoneOrAnotherIsNamed) {
  const test::TempDir adapter, other;
  const Model model = load_model(kAdapterBase, {.device = test::device()});
  save_adapters(load_adapters(model, kAdapterBase, kGoldenDirectory / "lora/lora"), kAdapterBase,
                adapter.path());
  json config = json::parse(test::read_file(adapter / kAdapterConfigFile));
  config["base_model_name_or_path"] = "somewhere/else";
  adapter.write(kAdapterConfigFile, config.dump());
  const std::string gone = adapter_error([&] { adapter_base(adapter.path()); });
  EXPECT_NE(gone.find("somewhere/else"), std::string::npos) << gone;
  EXPECT_NE(gone.find("--base"), std::string::npos) << gone;
  EXPECT_EQ(adapter_base(adapter.path(), kAdapterBase), kAdapterBase);
  config["base_model_name_or_path"] = nullptr;
  adapter.write(kAdapterConfigFile, config.dump());
  EXPECT_NE(adapter_error([&] { adapter_base(adapter.path()); }).find("names no base"),
            std::string::npos);

  // One weight moved by a little: another model.
  const Model changed = load_model(kAdapterBase, {.held = Held::memory});
  {
    const c10::NoGradGuard no_grad;
    changed.decoder->parameters()[3].mul_(1.001);
  }
  save_model(changed, other.path(), {});
  const Model fresh = load_model(other.path());
  const std::string wrong =
      adapter_error([&] { load_adapters(fresh, other.path(), adapter.path()); });
  EXPECT_NE(wrong.find("is not the model"), std::string::npos) << wrong;
}

TEST(AdapterFile, TensorsThatDoNotFitAreNamed) {
  const fs::path golden = kGoldenDirectory / "lora/lora";
  const auto tensors = SafetensorsFile(golden / kAdapterWeightsFile).all();
  const std::string first = tensors.begin()->first;
  const auto error_after =
      [&](const std::function<void(std::map<std::string, at::Tensor>&)>& change) {
        const test::TempDir directory;
        fs::copy_file(golden / kAdapterConfigFile, directory / kAdapterConfigFile);
        std::map<std::string, at::Tensor> changed = tensors;
        change(changed);
        write_safetensors(directory / kAdapterWeightsFile, {changed.begin(), changed.end()});
        const Model model = load_model(kAdapterBase, {.device = test::device()});
        return adapter_error([&] { load_adapters(model, kAdapterBase, directory.path()); });
      };
  EXPECT_EQ(error_after([](auto&) {}), "");
  EXPECT_NE(error_after([&](auto& t) {
              t.erase("base_model.model.model.layers.0.mlp.up_proj.lora_B.weight");
            }).find("up_proj.lora_B.weight' is missing"),
            std::string::npos);
  EXPECT_NE(error_after([&](auto& t) {
              t[first] = t[first].narrow(1, 0, 3).contiguous();
            }).find("numbers"),
            std::string::npos);
  EXPECT_NE(error_after([&](auto& t) {
              t[first] = t[first].narrow(0, 0, 1).contiguous();
            }).find("rank 4"),
            std::string::npos);
  EXPECT_NE(
      error_after([&](auto& t) { t["model.layers.0.x"] = t[first]; }).find("not of an adapter"),
      std::string::npos);
  EXPECT_NE(error_after([&](auto& t) {
              t["base_model.model.lm_head.lora_A.weight"] = t[first];
            }).find("lm_head"),
            std::string::npos);
  EXPECT_NE(error_after([&](auto& t) {
              t["base_model.model.model.layers.0.mlp.up_proj.lora_C"] = t[first];
            }).find("lora_C"),
            std::string::npos);
  EXPECT_NE(error_after([&](auto& t) { t.clear(); }).find("no adapter"), std::string::npos);
}

TEST(AdapterFile, TheFingerprintSeesEveryTensor) {
  const std::string original = base_fingerprint(kAdapterBase);
  EXPECT_EQ(original, base_fingerprint(kAdapterBase));
  const Model model = load_model(kAdapterBase, {.held = Held::memory});
  const test::TempDir copy;
  for (at::Tensor& parameter : model.decoder->parameters()) {
    const c10::NoGradGuard no_grad;
    const at::Tensor before = parameter.detach().clone();
    parameter.mul_(1.0001);
    save_model(model, copy.path(), {});
    EXPECT_NE(base_fingerprint(copy.path()), original);
    parameter.copy_(before);
  }
  save_model(model, copy.path(), {});
  EXPECT_EQ(base_fingerprint(copy.path()), original);
}

}  // namespace
}  // namespace continuo
