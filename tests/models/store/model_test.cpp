#include "models/store/model.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/nll_loss.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "io/safetensors.h"
#include "models/store/save_model.h"
#include "nn/executor.h"
#include "nn/unset_parameter.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;
using test::max_difference;

const fs::path kGolden = fs::path(CONTINUO_SOURCE_DIR) / "tests/golden/tiny_llama";

SafetensorsFile reference() { return SafetensorsFile(kGolden / "reference.safetensors"); }

RaggedInput golden_input(const SafetensorsFile& reference) {
  const at::Tensor tokens = reference.tensor("tokens");
  return {tokens, at::arange(tokens.size(0), at::TensorOptions(at::kLong)), {0, tokens.size(0)}};
}

std::string load_error(const fs::path& directory) {
  try {
    load_model(directory);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Model, LogitsEqualThoseOfTransformers) {
  const c10::NoGradGuard no_grad;
  const SafetensorsFile reference(kGolden / "reference.safetensors");
  const Model model = load_model(kGolden);
  const at::Tensor logits = model.decoder->logits(model.decoder->forward(golden_input(reference)));
  EXPECT_LT(max_difference(logits, reference.tensor("logits")), 1e-4);
}

TEST(Model, GradientsOfTheCompletionLossEqualThoseOfTransformers) {
  const SafetensorsFile reference(kGolden / "reference.safetensors");
  const int64_t from = read_json(kGolden / "reference.json")["trained_from"];
  const Model model = load_model(kGolden, {.held = Held::memory});
  const RaggedInput input = golden_input(reference);
  const int64_t n = input.tokens.size(0);
  const at::Tensor logits =
      model.decoder->logits(model.decoder->forward(input).narrow(0, from - 1, n - from));
  const at::Tensor loss =
      at::nll_loss(at::log_softmax(logits, 1), input.tokens.narrow(0, from, n - from));
  EXPECT_NEAR(loss.item<double>(), reference.tensor("loss").item<double>(), 1e-5);
  loss.backward();
  for (const auto& item : model.decoder->named_parameters()) {
    const at::Tensor expected =
        reference.tensor("grad." + model.family->checkpoint_name(item.key()));
    const double scale = std::max(1e-3, expected.abs().max().item<double>());
    EXPECT_LT(max_difference(item.value().grad(), expected) / scale, 1e-4) << item.key();
  }
}

TEST(Model, Bfloat16LoadingKeepsNormsInFloat) {
  const Model model = load_model(kGolden, {.dtype = at::kBFloat16});
  for (const auto& item : model.decoder->named_parameters()) {
    EXPECT_EQ(item.value().scalar_type(), item.value().dim() < 2 ? at::kFloat : at::kBFloat16)
        << item.key();
  }
}

TEST(Model, MatricesThatStayInTheirFilesAreNoParameters) {
  const test::TempDir directory;
  save_model(load_model(kGolden, {.dtype = at::kBFloat16}), directory.path(),
             {.bos = 1, .pad = 0, .eos = {2}});
  const Model stored = load_model(directory.path(), {.held = Held::stored});
  EXPECT_TRUE(is_unset(stored.decoder->head_weight()));
  EXPECT_EQ(stored.decoder->weights().head.rows(0, 2).scalar_type(), at::kBFloat16);
  const Model whole = load_model(directory.path(), {.dtype = at::kBFloat16});
  EXPECT_TRUE(stored.decoder->forward(golden_input(reference()))
                  .equal(whole.decoder->forward(golden_input(reference()))));
  EXPECT_THROW(save_model(stored, directory.path(), {}), Error);

  stored.decoder->read_stored();
  const Model mapped = load_model(directory.path(), {.dtype = at::kBFloat16});
  const auto expected = mapped.decoder->named_parameters();
  for (const auto& item : stored.decoder->named_parameters())
    EXPECT_TRUE(item.value().equal(expected[item.key()])) << item.key();
}

TEST(Model, WhatDoesNotFitIsNamed) {
  const test::TempDir directory;
  EXPECT_NE(load_error(directory.path()).find("has no config.json"), std::string::npos);

  nlohmann::json config = read_json(kGolden / "config.json");
  const auto with = [&](const nlohmann::json& changed) {
    directory.write("config.json", changed.dump());
    fs::copy_file(kGolden / "model.safetensors", directory / "model.safetensors",
                  fs::copy_options::overwrite_existing);
    return load_error(directory.path());
  };
  EXPECT_EQ(with(config), "");
  nlohmann::json changed = config;
  changed["model_type"] = "mamba";
  EXPECT_NE(with(changed).find("model_type 'mamba'"), std::string::npos);
  changed = config;
  changed["num_hidden_layers"] = 3;
  EXPECT_NE(with(changed).find("model.layers.2."), std::string::npos);
  changed = config;
  changed["num_hidden_layers"] = 1;
  EXPECT_NE(with(changed).find("belongs to no parameter"), std::string::npos);
  changed = config;
  changed["intermediate_size"] = 48;
  EXPECT_NE(with(changed).find("has shape [40, 24], config.json asks for [48, 24]"),
            std::string::npos);
}

}  // namespace
}  // namespace continuo
