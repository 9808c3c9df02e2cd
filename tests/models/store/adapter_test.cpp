#include "models/store/adapter.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "models/store/lora_config.h"
#include "support/tiny_model.h"

namespace continuo {
namespace {

Model small_model() { return {find_family("llama"), test::tiny_model()}; }

AdapterSet attach(const Model& model, const std::vector<std::string>& targets) {
  return attach_adapters(model, {.rank = 2, .alpha = 4}, targets, 5, {"x.yaml", 3});
}

TEST(Adapters, TargetsNameLayersAsInPeft) {
  const Model model = small_model();
  const AdapterSet all = attach(model, {kAllLinear});
  EXPECT_EQ(all.layers.size(), 14u);
  EXPECT_EQ(all.targets, (std::vector<std::string>{"down_proj", "gate_proj", "k_proj", "o_proj",
                                                   "q_proj", "up_proj", "v_proj"}));
  const Model other = small_model();
  const AdapterSet some =
      attach(other, {"q_proj", "self_attn.v_proj", "model.layers.1.mlp.up_proj"});
  EXPECT_EQ(some.layers.size(), 5u);
  EXPECT_EQ(some.targets,
            (std::vector<std::string>{"model.layers.1.mlp.up_proj", "q_proj", "v_proj"}));
  EXPECT_EQ(adapter_parameters(some).front().first,
            "model.layers.0.self_attn.q_proj.lora_A.weight");
}

TEST(Adapters, AnUnknownTargetIsNamedWithTheKnownOnes) {
  const Model model = small_model();
  for (const char* target : {"q_prj", "lm_head", "proj", ""}) {
    try {
      attach(model, {"v_proj", target});
      ADD_FAILURE() << target;
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(text.find("x.yaml:3"), 0u) << text;
      EXPECT_NE(text.find("all-linear, down_proj"), std::string::npos) << text;
      EXPECT_EQ(text.find("did you mean q_proj") != std::string::npos,
                target == std::string("q_prj"))
          << text;
    }
  }
}

TEST(Adapters, OnlyAdaptersAreTrainedAndTheirStartIsAFunctionOfTheSeed) {
  const Model model = small_model(), twin = small_model();
  const auto ours = adapter_parameters(attach(model, {kAllLinear})),
             theirs = adapter_parameters(attach(twin, {"up_proj"}));
  for (const at::Tensor& parameter : model.decoder->parameters())
    EXPECT_FALSE(parameter.requires_grad());
  for (const auto& [name, tensor] : ours)
    EXPECT_TRUE(tensor.requires_grad() && tensor.is_leaf()) << name;
  // What else is adapted does not matter.
  for (const auto& [name, tensor] : theirs) {
    const auto same = std::find_if(ours.begin(), ours.end(),
                                   [&](const auto& item) { return item.first == name; });
    ASSERT_NE(same, ours.end());
    EXPECT_TRUE(same->second.equal(tensor)) << name;
  }
}

}  // namespace
}  // namespace continuo
