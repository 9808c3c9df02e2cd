// What differs between the families that the one Transformer covers; the defaults are Llama's.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/rope.h"

namespace continuo {

// RMSNorm of queries and keys: none, per head, or over all heads together.
enum class QkNorm { none, head, whole };

struct TransformerOptions {
  int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0;
  int64_t vocabulary = 0;
  // Longest document the model was made for; only learned positions take memory by it.
  int64_t context = 0;
  double norm_epsilon = 1e-5;
  double rope_theta = 10000;
  bool tie_embeddings = false;
  bool attention_bias = false;  // of queries, keys and values
  bool mlp_bias = false;
  bool output_bias = false;  // of attention's output projection

  bool layer_norm = false;     // LayerNorm with bias instead of RMSNorm
  bool norm_plus_one = false;  // norms multiply by weight + 1
  bool pre_norm = true;        // norms before the sublayers
  bool post_norm = false;      // norms of the sublayers' outputs, before they are added
  bool parallel = false;       // attention and MLP both read the block's input
  QkNorm qk_norm = QkNorm::none;
  Activation activation = Activation::silu;
  bool gated = true;  // activation(gate) · up; else activation(up)

  bool learned_positions = false;  // added to the embedding, instead of rotation
  int64_t rotary_dim = 0;          // rotated dimensions of a head; 0 = all
  RopeScaling rope_scaling = {};
  double local_rope_theta = 0;       // of layers with a window, unscaled; 0 = as the others
  std::vector<bool> unrotated = {};  // per layer: no rotation; empty = every layer rotates
  int64_t window = 0;                // sliding window in tokens; 0 = none
  std::vector<bool> windowed = {};   // per layer: the window holds; empty = in every layer

  double embedding_scale = 1;
  double attention_scale = 0;                       // of the scores; 0 = 1/sqrt(head_dim)
  double attention_softcap = 0, logit_softcap = 0;  // c · tanh(x / c); 0 = none

  bool has_window(int64_t layer) const {
    return window > 0 && (windowed.empty() || windowed[layer]);
  }
  bool rotates(int64_t layer) const {
    return !learned_positions && (unrotated.empty() || !unrotated[layer]);
  }
  NormOptions norm() const {
    return {.centred = layer_norm, .plus_one = norm_plus_one, .epsilon = norm_epsilon};
  }
  bool operator==(const TransformerOptions&) const = default;
};

}  // namespace continuo
