#include "io/model_tensors.h"

#include <filesystem>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "io/error_text.h"
#include "io/safetensors.h"
#include "support/temp_dir.h"

namespace continuo {
namespace {

using test::contains;
using test::error_text;
using test::TempDir;

// Two shards holding "a" and "b".
struct Sharded {
  TempDir dir;

  Sharded() {
    write_safetensors(dir / "one.safetensors", {{"a", at::ones({2})}});
    write_safetensors(dir / "two.safetensors",
                      {{"b", at::zeros({3})}, {"unlisted", at::zeros({1})}});
  }
  void index(const std::string& weight_map) {
    dir.write("model.safetensors.index.json",
              R"({"metadata":{"total_size":20},"weight_map":)" + weight_map + "}");
  }
  std::string fault() {
    return error_text([&] { read_model_tensors(dir.path()); });
  }
};

TEST(ModelTensors, ReadsOneFile) {
  TempDir dir;
  write_safetensors(dir / "model.safetensors", {{"a", at::ones({2})}, {"b", at::zeros({3})}});
  const auto tensors = read_model_tensors(dir.path());
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_TRUE(at::equal(tensors.at("a"), at::ones({2})));
}

TEST(ModelTensors, ReadsShardsByTheIndex) {
  Sharded model;
  model.index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  const auto tensors = read_model_tensors(model.dir.path());
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_TRUE(at::equal(tensors.at("b"), at::zeros({3})));
}

TEST(ModelTensors, NamesTheMissingShard) {
  Sharded model;
  model.index(R"({"a":"one.safetensors","b":"three.safetensors"})");
  EXPECT_TRUE(contains(model.fault(), "the shard three.safetensors is missing"));
}

TEST(ModelTensors, NamesTheWrongShard) {
  Sharded model;
  model.index(R"({"a":"one.safetensors","b":"one.safetensors","unlisted":"two.safetensors"})");
  EXPECT_TRUE(
      contains(model.fault(), "'b' should be in one.safetensors but is in two.safetensors"));
  model.index(R"({"c":"one.safetensors"})");
  EXPECT_TRUE(contains(model.fault(), "'c' should be in one.safetensors but is not there"));
}

TEST(ModelTensors, ShardsOutsideTheDirectoryAreRefused) {
  Sharded model;
  for (const char* shard :
       {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ".", ""}) {
    model.index(fmt::format(R"({{"a":"{}"}})", shard));
    EXPECT_TRUE(contains(model.fault(), "not a plain file name")) << shard << ": " << model.fault();
  }
}

TEST(ModelTensors, BadIndexes) {
  Sharded model;
  for (const char* map : {"[]", "1", "null", R"({"a":1})", R"({"a":null})", "{"}) {
    model.index(map);
    EXPECT_TRUE(contains(model.fault(), "index.json")) << map << ": " << model.fault();
  }
}

TEST(ModelTensors, ReadsTorchFilesWhereThereAreNoSafetensors) {
  namespace fs = std::filesystem;
  const fs::path golden = fs::path(CONTINUO_SOURCE_DIR) / "tests/golden/torch";
  TempDir dir;
  fs::copy_file(golden / "protocol2.bin", dir / "pytorch_model.bin");
  EXPECT_TRUE(at::equal(read_model_tensors(dir.path()).at("weight"), at::tensor({1.0F, 2.0F})));

  TempDir sharded;
  fs::copy_file(golden / "protocol2.bin", sharded / "one.bin");
  fs::copy_file(golden / "nested.bin", sharded / "two.bin");
  const auto index = [&](const std::string& map) {
    sharded.write("pytorch_model.bin.index.json", R"({"weight_map":)" + map + "}");
    return error_text([&] { read_model_tensors(sharded.path()); });
  };
  EXPECT_EQ(index(R"({"weight":"one.bin","0.bias":"two.bin"})"), "");
  EXPECT_EQ(read_model_tensors(sharded.path()).size(), 2U);
  EXPECT_TRUE(
      contains(index(R"({"weight":"two.bin"})"), "bin.index.json: 'weight' should be in two"));
  EXPECT_TRUE(contains(index(R"({"weight":"three.bin"})"), "the shard three.bin is missing"));

  write_safetensors(dir / "model.safetensors", {{"a", at::ones({2})}});
  EXPECT_TRUE(read_model_tensors(dir.path()).contains("a"));
}

TEST(ModelTensors, NothingToRead) {
  TempDir dir;
  EXPECT_TRUE(contains(error_text([&] { read_model_tensors(dir.path()); }), "holds neither"));
  EXPECT_TRUE(contains(error_text([&] { read_model_tensors(dir / "none"); }), "no such directory"));
}

}  // namespace
}  // namespace continuo
