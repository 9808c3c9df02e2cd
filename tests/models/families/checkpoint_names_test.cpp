#include "models/families/checkpoint_names.h"

#include <array>

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace continuo {
namespace {

constexpr std::array kWhole = {NamePair{"embedding", "model.embed_tokens.weight"},
                               NamePair{"norm.", "model.norm."}};
constexpr std::array kParts = {NamePair{"attention.query.", "self_attn.q_proj."},
                               NamePair{"mlp_norm.weight", "post_attention_layernorm.weight"}};
constexpr NameMap kNames = {.whole = kWhole, .blocks = "model.layers.", .parts = kParts};

TEST(NameMap, NamesOfBlocksAndOutsideThem) {
  EXPECT_EQ(kNames.stored("embedding"), "model.embed_tokens.weight");
  EXPECT_EQ(kNames.stored("norm.bias"), "model.norm.bias");
  EXPECT_EQ(kNames.stored("blocks_12.attention.query.weight"),
            "model.layers.12.self_attn.q_proj.weight");
  EXPECT_EQ(kNames.stored("blocks_0.mlp_norm.weight"),
            "model.layers.0.post_attention_layernorm.weight");
}

TEST(NameMap, AParameterWithoutANameIsAnError) {
  for (const char* parameter : {"head", "blocks_0.mlp_norm.bias", "attention.query.weight"})
    test::expect_error([&] { kNames.stored(parameter); }, {parameter, "has no name"});
}

TEST(Placement, AParameterMayBeTheTensorOrItsTranspose) {
  const at::Tensor stored = at::arange(6).view({3, 2});
  EXPECT_EQ(Placement{}.stored_shape({3, 2}), (std::vector<int64_t>{3, 2}));
  EXPECT_TRUE(at::equal(Placement{}.part(stored, {3, 2}), stored));
  const Placement turned{.transposed = true};
  EXPECT_EQ(turned.stored_shape({2, 3}), (std::vector<int64_t>{3, 2}));
  EXPECT_TRUE(at::equal(turned.part(stored, {2, 3}), stored.t()));
}

TEST(Placement, SeveralParametersShareATensor) {
  // Rows 2 … 4 of 5.
  const Placement rows{.begin = 2, .width = 5};
  EXPECT_EQ(rows.stored_shape({3, 4}), (std::vector<int64_t>{5, 4}));
  const at::Tensor five = at::arange(20).view({5, 4});
  EXPECT_TRUE(at::equal(rows.part(five, {3, 4}), five.narrow(0, 2, 3)));

  // Two heads, each with a query of two rows and a key of one: the keys.
  const Placement keys{.blocks = 2, .begin = 2, .width = 3};
  EXPECT_EQ(keys.stored_shape({2, 4}), (std::vector<int64_t>{6, 4}));
  const at::Tensor six = at::arange(24).view({6, 4});
  const at::Tensor part = keys.part(six, {2, 4});
  EXPECT_TRUE(at::equal(part.select(0, 0), six.narrow(0, 2, 1)));
  EXPECT_TRUE(at::equal(part.select(0, 1), six.narrow(0, 5, 1)));
}

}  // namespace
}  // namespace continuo
