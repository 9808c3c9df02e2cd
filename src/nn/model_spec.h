// What a model computes, said once: families read it from config.json, every executor computes all
// of it or refuses it by name. The defaults are Llama's. Plain aggregates, so that whoever opens
// one with a structured binding of all its fields is broken by a new one until it says what it does
// with it. Knows no tensor.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "nn/activation.h"
#include "nn/rope_scaling.h"

namespace continuo {

struct NormSpec {
  bool centred = false;   // LayerNorm (arXiv 1607.06450) with a bias; else RMSNorm (1910.07467)
  bool plus_one = false;  // RMSNorm whose stored weight is the factor less one (Gemma)
  double epsilon = 1e-5;

  bool operator==(const NormSpec&) const = default;
};

// RMSNorm of queries and keys: none, per head, or over all heads together.
enum class QkNorm { none, head, whole };

struct Rotary {
  int64_t dim = 0;  // rotated dimensions of a head, the first ones
  double theta = 10000;
  RopeScaling scaling = {};

  bool operator==(const Rotary&) const = default;
};

// Causal attention with grouped queries (arXiv 2305.13245).
struct Attend {
  int64_t heads = 0, kv_heads = 0, dim = 0;
  int64_t window = 0;  // a token sees so many tokens, itself included; 0 = all before it
  double scale = 0;    // of the scores; 0 = 1/√dim
  double softcap = 0;  // scores become softcap · tanh(score / softcap); 0 = as they are
  std::optional<Rotary> rotary = {};
  QkNorm qk_norm = QkNorm::none;
  bool biases = false;       // of queries, keys and values
  bool output_bias = false;  // of the output projection

  double score_scale() const { return scale > 0 ? scale : 1 / std::sqrt(static_cast<double>(dim)); }
  bool operator==(const Attend&) const = default;
};

// A gated convolution over the latest tokens (LFM2, arXiv 2511.23404): b, c, x = In·h, then
// Out·(c · k), k the causal depthwise convolution of b · x.
struct Convolve {
  int64_t kernel = 3;   // tokens that it sees, itself included
  bool biases = false;  // of all three

  bool operator==(const Convolve&) const = default;
};

struct Dense {
  int64_t width = 0;
  Activation activation = Activation::silu;
  bool gated = true;  // activation(gate) · up (arXiv 2002.05202); else activation(up)
  bool biases = false;

  bool operator==(const Dense&) const = default;
};

// A mixture of MLPs (arXiv 2401.04088): each token goes through those that its router finds most
// probable, and their outputs are summed with their probabilities.
struct Experts {
  int64_t count = 0, chosen = 0;
  Dense expert = {};
  bool normalised = true;  // the probabilities of the chosen sum to 1

  bool operator==(const Experts&) const = default;
};

// Where a block normalises: what its sublayers read, what they write before it is added, or both.
enum class NormPlacement { before, after, around };

struct BlockSpec {
  NormSpec norm = {};
  NormPlacement placement = NormPlacement::before;
  bool parallel = false;  // mixer and MLP both read the block's input
  std::variant<Attend, Convolve> mixer = {};
  std::variant<Dense, Experts> mlp = {};

  // Of a block that is known to have them.
  Attend& attend() { return std::get<Attend>(mixer); }
  const Attend& attend() const { return std::get<Attend>(mixer); }
  Dense& dense() { return std::get<Dense>(mlp); }
  const Dense& dense() const { return std::get<Dense>(mlp); }
  bool operator==(const BlockSpec&) const = default;
};

struct EmbeddingSpec {
  int64_t vocabulary = 0, hidden = 0;
  double scale = 1;       // of the embedded tokens
  int64_t positions = 0;  // learned ones, added to the tokens; 0 = none

  bool operator==(const EmbeddingSpec&) const = default;
};

struct HeadSpec {
  bool tied = false;   // to the embedding
  double softcap = 0;  // of the logits, as of the scores

  bool operator==(const HeadSpec&) const = default;
};

struct ModelSpec {
  int64_t context = 0;  // the longest document that the model was made for
  EmbeddingSpec embedding = {};
  std::vector<BlockSpec> blocks = {};
  NormSpec norm = {};  // before the head
  HeadSpec head = {};

  int64_t layers() const { return static_cast<int64_t>(blocks.size()); }
  bool operator==(const ModelSpec&) const = default;
};

}  // namespace continuo
