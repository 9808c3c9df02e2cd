#include "models/store/gguf_architecture.h"

#include <algorithm>
#include <array>

namespace continuo {
namespace {

using enum GgufLayout;

template <class T, size_t... N>
constexpr auto join(const std::array<T, N>&... parts) {
  std::array<T, (N + ...)> all{};
  size_t at = 0;
  ((at = std::ranges::copy(parts, all.begin() + at).out - all.begin()), ...);
  return all;
}

template <size_t N>
constexpr auto keys(const GgufKeyRow (&rows)[N]) {
  return std::to_array(rows);
}

template <size_t N>
constexpr auto tensors(const GgufTensorRow (&rows)[N]) {
  return std::to_array(rows);
}

constexpr auto kLlamaKeys = keys({{"block_count", "num_hidden_layers"},
                                  {"context_length", "max_position_embeddings"},
                                  {"embedding_length", "hidden_size"},
                                  {"feed_forward_length", "intermediate_size"},
                                  {"attention.head_count", "num_attention_heads"},
                                  {"attention.head_count_kv", "num_key_value_heads", false, false},
                                  {"attention.layer_norm_rms_epsilon", "rms_norm_eps", true},
                                  {"attention.key_length", "head_dim", false, false}});
constexpr auto kWindowKeys =
    join(kLlamaKeys, keys({{"attention.sliding_window", "sliding_window", false, false}}));
constexpr auto kGemma2Keys =
    join(kWindowKeys, keys({{"attn_logit_softcapping", "attn_logit_softcapping", true},
                            {"final_logit_softcapping", "final_logit_softcapping", true}}));
constexpr auto kGpt2Keys = keys({{"block_count", "n_layer"},
                                 {"context_length", "n_positions"},
                                 {"embedding_length", "n_embd"},
                                 {"feed_forward_length", "n_inner"},
                                 {"attention.head_count", "n_head"},
                                 {"attention.layer_norm_epsilon", "layer_norm_epsilon", true}});
constexpr auto kNeoxKeys = keys({{"block_count", "num_hidden_layers"},
                                 {"context_length", "max_position_embeddings"},
                                 {"embedding_length", "hidden_size"},
                                 {"feed_forward_length", "intermediate_size"},
                                 {"attention.head_count", "num_attention_heads"},
                                 {"attention.layer_norm_epsilon", "layer_norm_eps", true}});

constexpr auto kOuter = tensors(
    {{"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}});
constexpr auto kOutput = tensors({{"blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"},
                                  {"blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"}});
constexpr auto kValueAndMlp = tensors({{"blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"},
                                       {"blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj"},
                                       {"blk.{}.ffn_up", "model.layers.{}.mlp.up_proj"}});
constexpr auto kQueryKey = tensors({{"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj"},
                                    {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj"}});
constexpr auto kPreNorms =
    tensors({{"blk.{}.attn_norm", "model.layers.{}.input_layernorm"},
             {"blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"}});
constexpr auto kQueryKeyNorms =
    tensors({{"blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm"},
             {"blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm"}});

constexpr auto kLlamaTensors =
    join(kOuter, kOutput, kValueAndMlp, kPreNorms,
         tensors({{"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", kInterleavedQuery},
                  {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", kInterleavedKey}}));
constexpr auto kQwenTensors =
    join(kOuter, kOutput, kValueAndMlp, kPreNorms, kQueryKey, kQueryKeyNorms);
constexpr auto kOlmo2Tensors =
    join(kOuter, kOutput, kValueAndMlp, kQueryKey, kQueryKeyNorms,
         tensors({{"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"},
                  {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm"}}));
constexpr auto kGemmaTensors = join(
    kOutput, kValueAndMlp, kQueryKey,
    tensors({{"token_embd", "model.embed_tokens"},
             {"output", "lm_head"},
             {"output_norm", "model.norm", kPlusOne},
             {"blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm", kPlusOne},
             {"blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm", kPlusOne},
             {"blk.{}.attn_norm", "model.layers.{}.input_layernorm", kPlusOne},
             {"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm", kPlusOne},
             {"blk.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm", kPlusOne},
             {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm", kPlusOne}}));
constexpr auto kPhi3Tensors =
    join(kOuter, kOutput, kPreNorms,
         tensors({{"blk.{}.attn_qkv", "model.layers.{}.self_attn.qkv_proj"},
                  {"blk.{}.ffn_up", "model.layers.{}.mlp.gate_up_proj"}}));
constexpr auto kGpt2Tensors =
    tensors({{"token_embd", "transformer.wte"},
             {"position_embd", "transformer.wpe"},
             {"output_norm", "transformer.ln_f"},
             {"output", "lm_head"},
             {"blk.{}.attn_norm", "transformer.h.{}.ln_1"},
             {"blk.{}.attn_qkv", "transformer.h.{}.attn.c_attn", kTransposed},
             {"blk.{}.attn_output", "transformer.h.{}.attn.c_proj", kTransposed},
             {"blk.{}.ffn_norm", "transformer.h.{}.ln_2"},
             {"blk.{}.ffn_up", "transformer.h.{}.mlp.c_fc", kTransposed},
             {"blk.{}.ffn_down", "transformer.h.{}.mlp.c_proj", kTransposed}});
constexpr auto kNeoxTensors =
    tensors({{"token_embd", "gpt_neox.embed_in"},
             {"output_norm", "gpt_neox.final_layer_norm"},
             {"output", "embed_out"},
             {"blk.{}.attn_norm", "gpt_neox.layers.{}.input_layernorm"},
             {"blk.{}.attn_qkv", "gpt_neox.layers.{}.attention.query_key_value", kQkvMajor},
             {"blk.{}.attn_output", "gpt_neox.layers.{}.attention.dense"},
             {"blk.{}.ffn_norm", "gpt_neox.layers.{}.post_attention_layernorm"},
             {"blk.{}.ffn_up", "gpt_neox.layers.{}.mlp.dense_h_to_4h"},
             {"blk.{}.ffn_down", "gpt_neox.layers.{}.mlp.dense_4h_to_h"}});

// Where a name's layer number starts and ends; both npos-like (0, 0) without one.
std::pair<size_t, size_t> layer_span(std::string_view name) {
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    if (end > begin && std::all_of(name.begin() + begin, name.begin() + end, digit)) {
      return {begin, end};
    }
    begin = end + 1;
  }
  return {0, 0};
}

std::optional<GgufTensorMatch> translate(const GgufArchitecture& a, std::string_view name,
                                         std::string_view GgufTensorRow::* from,
                                         std::string_view GgufTensorRow::* to) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view suffix = name.substr(dot);
  if (suffix != ".weight" && suffix != ".bias") return std::nullopt;
  const auto [begin, end] = layer_span(name);
  const std::string_view layer = name.substr(begin, end - begin);
  std::string pattern(name.substr(0, dot));
  if (!layer.empty()) pattern.replace(begin, layer.size(), "{}");
  const auto row = std::ranges::find(a.tensors, pattern, from);
  if (row == a.tensors.end()) return std::nullopt;
  std::string result((*row).*to);
  if (const size_t hole = result.find("{}"); hole != std::string::npos) {
    result.replace(hole, 2, layer);
  }
  return GgufTensorMatch{&*row, result + std::string(suffix)};
}

}  // namespace

std::span<const GgufArchitecture> gguf_architectures() {
  static constexpr std::array kArchitectures = {
      GgufArchitecture{"llama", "llama", "LlamaForCausalLM", kLlamaKeys, kLlamaTensors,
                       R"({"hidden_act": "silu"})"},
      GgufArchitecture{"qwen2", "qwen2", "Qwen2ForCausalLM", kLlamaKeys, kQwenTensors,
                       R"({"hidden_act": "silu", "use_sliding_window": false})"},
      GgufArchitecture{"qwen3", "qwen3", "Qwen3ForCausalLM", kLlamaKeys, kQwenTensors,
                       R"({"hidden_act": "silu", "use_sliding_window": false})"},
      GgufArchitecture{"smollm3", "smollm3", "SmolLM3ForCausalLM", kLlamaKeys, kLlamaTensors,
                       R"({"hidden_act": "silu", "no_rope_layer_interval": 4})"},
      GgufArchitecture{"olmo2", "olmo2", "Olmo2ForCausalLM", kLlamaKeys, kOlmo2Tensors,
                       R"({"hidden_act": "silu"})"},
      GgufArchitecture{"gemma2", "gemma2", "Gemma2ForCausalLM", kGemma2Keys, kGemmaTensors,
                       R"({"hidden_activation": "gelu_pytorch_tanh"})"},
      GgufArchitecture{"gemma3", "gemma3_text", "Gemma3ForCausalLM", kWindowKeys, kGemmaTensors,
                       R"({"hidden_activation": "gelu_pytorch_tanh"})"},
      GgufArchitecture{"phi3", "phi3", "Phi3ForCausalLM", kWindowKeys, kPhi3Tensors,
                       R"({"hidden_act": "silu"})"},
      GgufArchitecture{"gpt2", "gpt2", "GPT2LMHeadModel", kGpt2Keys, kGpt2Tensors,
                       R"({"activation_function": "gelu_new"})"},
      GgufArchitecture{"gptneox", "gpt_neox", "GPTNeoXForCausalLM", kNeoxKeys, kNeoxTensors,
                       R"({"hidden_act": "gelu"})"},
  };
  return kArchitectures;
}

const GgufArchitecture* find_gguf_architecture(std::string_view name) {
  const auto all = gguf_architectures();
  const auto found = std::ranges::find(all, name, &GgufArchitecture::name);
  return found == all.end() ? nullptr : &*found;
}

const GgufArchitecture* gguf_architecture_of(std::string_view model_type) {
  if (model_type == "mistral") model_type = "llama";
  const auto all = gguf_architectures();
  const auto found = std::ranges::find(all, model_type, &GgufArchitecture::model_type);
  return found == all.end() ? nullptr : &*found;
}

std::optional<GgufTensorMatch> hf_tensor_name(const GgufArchitecture& a, std::string_view gguf) {
  return translate(a, gguf, &GgufTensorRow::gguf, &GgufTensorRow::hf);
}

std::optional<GgufTensorMatch> gguf_tensor_name(const GgufArchitecture& a, std::string_view hf) {
  return translate(a, hf, &GgufTensorRow::hf, &GgufTensorRow::gguf);
}

}  // namespace continuo
