#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "error_text.h"
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
    return error_text([&] { read_model_safetensors(dir.path()); });
  }
};

TEST(SafetensorsModel, ReadsOneFile) {
  TempDir dir;
  write_safetensors(dir / "model.safetensors", {{"a", at::ones({2})}, {"b", at::zeros({3})}});
  const auto tensors = read_model_safetensors(dir.path());
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_TRUE(at::equal(tensors.at("a"), at::ones({2})));
}

TEST(SafetensorsModel, ReadsShardsByTheIndex) {
  Sharded model;
  model.index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  const auto tensors = read_model_safetensors(model.dir.path());
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_TRUE(at::equal(tensors.at("b"), at::zeros({3})));
}

TEST(SafetensorsModel, NamesTheMissingShard) {
  Sharded model;
  model.index(R"({"a":"one.safetensors","b":"three.safetensors"})");
  EXPECT_TRUE(contains(model.fault(), "the shard three.safetensors is missing"));
}

TEST(SafetensorsModel, NamesTheWrongShard) {
  Sharded model;
  model.index(R"({"a":"one.safetensors","b":"one.safetensors","unlisted":"two.safetensors"})");
  EXPECT_TRUE(
      contains(model.fault(), "'b' should be in one.safetensors but is in two.safetensors"));
  model.index(R"({"c":"one.safetensors"})");
  EXPECT_TRUE(contains(model.fault(), "'c' should be in one.safetensors but is not there"));
}

TEST(SafetensorsModel, ShardsOutsideTheDirectoryAreRefused) {
  Sharded model;
  for (const char* shard :
       {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ".", ""}) {
    model.index(fmt::format(R"({{"a":"{}"}})", shard));
    EXPECT_TRUE(contains(model.fault(), "not a plain file name")) << shard << ": " << model.fault();
  }
}

TEST(SafetensorsModel, BadIndexes) {
  Sharded model;
  for (const char* map : {"[]", "1", "null", R"({"a":1})", R"({"a":null})", "{"}) {
    model.index(map);
    EXPECT_TRUE(contains(model.fault(), "index.json")) << map << ": " << model.fault();
  }
}

TEST(SafetensorsModel, NothingToRead) {
  TempDir dir;
  EXPECT_TRUE(contains(error_text([&] { read_model_safetensors(dir.path()); }), "holds neither"));
  EXPECT_TRUE(
      contains(error_text([&] { read_model_safetensors(dir / "none"); }), "no such directory"));
}

}  // namespace
}  // namespace continuo
