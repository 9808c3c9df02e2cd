#include "app/model_directory.h"

#include <utility>

#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include "app/backends.h"
#include "nn/executor.h"
#include "nn/transformer.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

const fs::path kOldRun = fs::path(CONTINUO_SOURCE_DIR) / "tests/golden/old_run";
const Compute kCpu = {.device = at::kCPU, .dtype = at::kFloat, .threads = 1};

// Of three tokens.
at::Tensor logits_of(const ServedModel& served) {
  const auto cache = served.executor->make_cache();
  const at::Tensor tokens = at::arange(3, at::TensorOptions(at::kLong));
  return served.executor
      ->run({.input = {.tokens = tokens, .positions = tokens, .boundaries = {0, 3}},
             .cache = *cache,
             .sequences = {cache->add()},
             .adapters = {served.adapter},
             .wanted = {2}})
      .logits;
}

TEST(ModelDirectory, OpenedAndServedAtOnceIsWhatItIsOneAfterTheOther) {
  install_backends();
  for (const auto& [path, base] : {std::pair<fs::path, fs::path>{kOldRun / "run", ""},
                                   {kOldRun / "adapter", kOldRun / "base"}}) {
    SCOPED_TRACE(path);
    const ModelDirectory first = open_model_directory(path, {.held = Held::stored}, base);
    const ServedModel served = serve_model(first.model.decoder, {});
    const OpenModel both = open_served_model(path, kCpu, base);
    EXPECT_EQ(both.directory.path, first.path);
    EXPECT_EQ(both.directory.tokenizer->hash(), first.tokenizer->hash());
    EXPECT_EQ(both.directory.prompt.hash(), first.prompt.hash());
    EXPECT_EQ(both.directory.eos, first.eos);
    EXPECT_EQ(both.served.adapter == kNoAdapter, base.empty());
    EXPECT_TRUE(logits_of(both.served).equal(logits_of(served)));
  }
}

TEST(ModelDirectory, SaysOfTwoFaultsTheTokenizersFirst) {
  const test::TempDir directory;
  fs::copy(kOldRun / "base", directory.path(), fs::copy_options::recursive);
  fs::resize_file(directory / "model.safetensors", 1000);
  test::expect_error([&] { open_served_model(directory.path(), kCpu); }, {"truncated"});
  fs::remove(directory / "tokenizer.model");
  test::expect_error([&] { open_served_model(directory.path(), kCpu); }, {"no tokenizer"});
}

}  // namespace
}  // namespace continuo
