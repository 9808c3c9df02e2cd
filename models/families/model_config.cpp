#include "models/families/model_config.h"

#include "models/families/registry.h"

namespace continuo {

void fields(FieldVisitor& v, ModelConfig& c) {
  v.field("from", c.from,
          "Checkpoint directory to start from (Hugging Face layout); empty = random weights.");
  v.field("family", c.family, "Model family of a model made from scratch.");
  v.field("layers", c.layers, "Transformer blocks.", Range::at_least(1));
  v.field("hidden", c.hidden, "Width of the residual stream.", Range::at_least(2));
  v.field("heads", c.heads, "Attention heads.", Range::at_least(1));
  v.field("kv_heads", c.kv_heads, "Key/value heads (grouped-query attention); 0 = heads.",
          Range::at_least(0));
  v.field("head_dim", c.head_dim, "Dimensions of a head; 0 = hidden / heads.", Range::at_least(0));
  v.field("intermediate", c.intermediate, "Width of the MLP; 0 = 8/3 of hidden, rounded up to 64.",
          Range::at_least(0));
  v.field("context", c.context, "Longest document in tokens.", Range::at_least(2));
  v.field("norm_epsilon", c.norm_epsilon, "Epsilon of RMSNorm.", Range::positive());
  v.field("rope_theta", c.rope_theta, "Base of the rotary frequencies.", Range::positive());
  v.field("tie_embeddings", c.tie_embeddings, "Use the embedding matrix as the output head.");
  v.field("seed", c.seed, "Seed of the initial weights.");
}

void validate(const ModelConfig& c, const ConfigNode& root, const std::string& key,
              Problems& problems) {
  const auto fault = [&](const std::string& field, const std::string& message,
                         const std::string& hint) {
    problems.add(locate(root, key + "." + field), key + "." + field + ": " + message, hint);
  };
  if (!c.from.empty()) return;
  if (!find_family(c.family))
    fault("family", "unknown model family '" + c.family + "'", known_families());
  const int64_t kv_heads = c.kv_heads ? c.kv_heads : c.heads;
  if (c.head_dim == 0 && c.hidden % c.heads != 0) {
    fault("heads", fmt::format("hidden {} is not a multiple of {} heads", c.hidden, c.heads),
          "Change one of them, or give head_dim.");
  } else if ((c.head_dim ? c.head_dim : c.hidden / c.heads) % 2 != 0) {
    fault("head_dim", "rotary embedding needs an even number of dimensions per head", "");
  }
  if (c.heads % kv_heads != 0) {
    fault("kv_heads", fmt::format("{} heads cannot share {} key/value heads", c.heads, kv_heads),
          "heads must be a multiple of kv_heads.");
  }
}

}  // namespace continuo
