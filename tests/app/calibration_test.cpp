#include "app/calibration.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "app/backends.h"
#include "core/json.h"
#include "core/random.h"
#include "io/model_tensors.h"
#include "models/store/gguf_checkpoint.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

fs::path golden_family(const std::string& name) {
  return fs::path(CONTINUO_SOURCE_DIR) / "tests/golden/families" / name;
}

// Documents of random tokens.
Batch random_batch(int64_t vocabulary, int64_t documents, int64_t length) {
  Batch batch;
  batch.tokens = at::randint(vocabulary, {documents * length},
                             at::make_generator<at::CPUGeneratorImpl>(uint64_t{1}), at::kLong);
  batch.positions = at::arange(length, at::kLong).repeat({documents});
  for (int64_t d = 0; d <= documents; ++d) batch.boundaries.push_back(d * length);
  return batch;
}

at::Tensor logits_of(const Model& model, const Batch& batch) {
  const c10::NoGradGuard no_grad;
  return model.decoder->logits(model.decoder->forward(
      {.tokens = batch.tokens, .positions = batch.positions, .boundaries = batch.boundaries}));
}

std::map<std::string, at::Tensor> calibrated(const Model& model, const fs::path& directory,
                                             const Batch& batch, const GgufTypes& types) {
  const nlohmann::json config = read_json(directory / "config.json");
  return calibrate(model, batch,
                   [&](const std::string& name) { return gguf_matrix_type(config, name, types); });
}

// The model that a file of `types` gives back.
Model through_file(const fs::path& directory, const GgufTypes& types,
                   const std::map<std::string, at::Tensor>& blocks = {}) {
  const test::TempDir temp;
  const GgufContent content = gguf_content(read_json(directory / "config.json"),
                                           read_model_tensors(directory), types, blocks);
  write_gguf(temp / "model.gguf", content.metadata, content.tensors);
  return load_model(temp / "model.gguf", {.held = Held::memory});
}

class CalibrationTest : public testing::TestWithParam<const char*> {};

// Eight bits are near the weights wherever they lie in the file, so names and layouts are right;
// and every matrix with rows of whole blocks has some.
TEST_P(CalibrationTest, BlocksStandWhereTheirMatrixDoes) {
  install_backends();
  const fs::path directory = golden_family(GetParam());
  const Model model = load_model(directory);
  const Batch batch = random_batch(model.decoder->spec().embedding.vocabulary, 16, 12);
  const at::Tensor before = logits_of(model, batch);
  const auto blocks = calibrated(model, directory, batch, GgmlType::kQ8_0);
  EXPECT_TRUE(logits_of(model, batch).equal(before)) << "the model has changed";

  const Model back = through_file(directory, GgmlType::kQ8_0, blocks);
  auto parameters = back.decoder->named_parameters();
  size_t calibrated = 0;
  for (const auto& item : model.decoder->named_parameters()) {
    const at::Tensor difference = parameters[item.key()] - item.value();
    EXPECT_LT(difference.norm().item<double>(), 0.02 * item.value().norm().item<double>() + 1e-6)
        << item.key();
    calibrated += blocks.count(model.family->checkpoint_name(item.key()));
  }
  EXPECT_GT(calibrated, 0U);
  for (const LinearImpl* layer : linear_layers(*model.decoder)) {
    EXPECT_FALSE(layer->passing.defined() || layer->observer);
    calibrated -= layer->weight.size(1) % 32 == 0;
  }
  EXPECT_EQ(calibrated, 0U);
}

INSTANTIATE_TEST_SUITE_P(Golden, CalibrationTest,
                         testing::Values("llama", "qwen3", "olmo2", "gpt2", "gpt_neox",
                                         "gpt_neox_sequential"),
                         [](const auto& family) { return std::string(family.param); });

TEST(Calibration, TheFileComputesWhatTheModelDoesMoreNearly) {
  install_backends();
  const fs::path directory = golden_family("gpt2");
  const Model model = load_model(directory);
  const Batch seen = random_batch(model.decoder->spec().embedding.vocabulary, 60, 12);
  const at::Tensor wanted = logits_of(model, seen);
  const auto missed = [&](const Model& other) {
    return (logits_of(other, seen) - wanted).square().mean().item<double>();
  };
  const double nearest = missed(through_file(directory, GgmlType::kQ4_1));
  const auto by_rows = [&](const GgufTypes& types) {
    return missed(through_file(directory, types, calibrated(model, directory, seen, types)));
  };
  const double alike = by_rows(GgmlType::kQ4_1), mixed = by_rows(*gguf_types("q4_1_m"));
  EXPECT_LT(alike, 0.8 * nearest);
  EXPECT_LT(mixed, 0.9 * alike);
}

TEST(Calibration, ValuesThatATypeCannotHoldAreNamed) {
  install_backends();
  const fs::path directory = golden_family("llama");
  const Model model = load_model(directory, {.held = Held::memory});
  const Batch batch = random_batch(model.decoder->spec().embedding.vocabulary, 2, 8);
  {
    const c10::NoGradGuard no_grad;
    model.decoder->named_parameters()["blocks_1.attention.key.weight"].select(0, 3).fill_(1e6);
  }
  test::expect_error([&] { calibrated(model, directory, batch, GgmlType::kQ4_1); },
                     {"model.layers.1.self_attn.k_proj.weight", "cannot be stored as Q4_1"});
  for (const LinearImpl* layer : linear_layers(*model.decoder))
    EXPECT_FALSE(layer->passing.defined() || layer->observer);
}

}  // namespace
}  // namespace continuo
