#include <gtest/gtest.h>

#include "nn/transformer.h"
#include "nn/unset_parameter.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

TEST(TransformerWeights, InitialWeightsAreAFunctionOfTheSeed) {
  Transformer a(test::tiny_spec()), b(test::tiny_spec()), c(test::tiny_spec());
  a.initialise(5);
  b.initialise(5);
  c.initialise(6);
  const auto pa = a.named_parameters(), pb = b.named_parameters(), pc = c.named_parameters();
  for (const auto& item : pa) {
    EXPECT_TRUE(item.value().equal(pb[item.key()])) << item.key();
    if (item.value().dim() >= 2) {
      EXPECT_FALSE(item.value().equal(pc[item.key()])) << item.key();
    }
  }
  const auto read = std::make_shared<Transformer>(test::tiny_spec());
  read->initialise_when_read(5, at::kCPU);
  EXPECT_TRUE(is_unset(read->head_weight()));
  EXPECT_TRUE(read->weights().head.rows(3, 7).equal(pa["embedding"].slice(0, 3, 7)));
  read->read_stored();
  for (const auto& item : pa)
    EXPECT_TRUE(item.value().equal(read->named_parameters()[item.key()])) << item.key();
  EXPECT_NEAR(pa["embedding"].std().item<double>(), 0.02, 0.002);
  EXPECT_NEAR(pa["blocks_0.mlp.down.weight"].std().item<double>(), 0.02 / 2, 0.002);
}

TEST(TransformerWeights, ATiedHeadIsNoSecondParameter) {
  ModelSpec spec = test::tiny_spec();
  EXPECT_FALSE(Transformer(spec).named_parameters().contains("head"));
  spec.head.tied = false;
  EXPECT_TRUE(Transformer(spec).named_parameters().contains("head"));
}

}  // namespace
}  // namespace continuo
