#include "models/store/save_model.h"

#include <gtest/gtest.h>

#include "core/files.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

const std::filesystem::path kTinyLlama =
    std::filesystem::path(CONTINUO_SOURCE_DIR) / "tests/golden/tiny_llama";

TEST(SaveModel, SavedAndLoadedWeightsAreTheSameBits) {
  const test::TempDir directory;
  for (const bool tied : {true, false}) {
    ModelConfig config;
    config.layers = 2;
    config.hidden = 16;
    config.heads = 2;
    config.tie_embeddings = tied;
    const Model model = make_model(config, 37, at::kCPU);
    save_model(model, directory.path(), {.bos = 1, .pad = 3, .eos = {2}});
    const Model back = load_model(directory.path());
    const auto a = model.decoder->named_parameters(), b = back.decoder->named_parameters();
    ASSERT_EQ(a.size(), b.size());
    for (const auto& item : a) EXPECT_TRUE(item.value().equal(b[item.key()])) << item.key();
    EXPECT_EQ(read_eos_ids(directory.path()).ids, std::vector<int64_t>{2});
    EXPECT_EQ(read_eos_ids(directory.path()).file, directory.path() / "generation_config.json");
    EXPECT_EQ(back.decoder->spec().context, 2048);
  }
}

TEST(SaveModel, WeightsAreSavedAFewAtATime) {
  const test::TempDir whole, parts;
  const Model model = load_model(kTinyLlama);
  save_model(model, whole.path(), {});
  size_t handed = 0;
  const auto hand_over = [&](size_t count) {
    return [&, count](const std::function<void(const NamedParameters&)>& take) {
      for (const auto& item : model.decoder->named_parameters()) {
        if (handed++ < count) take({{item.key(), item.value()}});
      }
    };
  };
  save_model(model, parts.path(), {}, hand_over(1000));
  EXPECT_EQ(handed, model.decoder->named_parameters().size());
  EXPECT_EQ(read_file(whole / "model.safetensors"), read_file(parts / "model.safetensors"));
  handed = 0;
  test::expect_error([&] { save_model(model, parts.path(), {}, hand_over(3)); }, {"nobody had"});
}

}  // namespace
}  // namespace continuo
