"""Writes tests/golden/families: a tiny random model per family made by transformers, with its logits, the gradients of a
completion loss and a greedy continuation.

Needs torch, transformers and safetensors. Run from the repository root: python scripts/golden/make_families.py [NAME ...]
"""
import json
import pathlib
import sys

import torch
import transformers as hf
from safetensors.torch import save_file

OUT = pathlib.Path("tests/golden/families")
VOCABULARY = 41
BASE = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
            tie_word_embeddings=False)
# Of these the gradients say nothing that the family's other checkpoint does not.
WITHOUT_GRADIENTS = ("llama_linear", "llama_dynamic", "llama_yarn", "llama_yarn_mscale", "llama_llama3", "qwen2",
                     "smollm3", "gpt_neox_sequential")


def rope(**parameters):
    return dict(rope_parameters=dict(rope_theta=1000.0, **parameters))


def family(config_class, model_class, **changes):
    return config_class, model_class, {**BASE, **changes}


FAMILIES = {
    "llama": family(hf.LlamaConfig, hf.LlamaForCausalLM, mlp_bias=True, tie_word_embeddings=True),
    "llama_linear": family(hf.LlamaConfig, hf.LlamaForCausalLM, num_hidden_layers=1, **rope(rope_type="linear", factor=4.0)),
    "llama_dynamic": family(hf.LlamaConfig, hf.LlamaForCausalLM, num_hidden_layers=1, max_position_embeddings=16,
                            **rope(rope_type="dynamic", factor=3.0)),
    "llama_yarn": family(hf.LlamaConfig, hf.LlamaForCausalLM, num_hidden_layers=1,
                         **rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=4.0)),
    "llama_yarn_mscale": family(hf.LlamaConfig, hf.LlamaForCausalLM, num_hidden_layers=1,
                                **rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, mscale=1.2,
                                       mscale_all_dim=0.4, truncate=False)),
    "llama_llama3": family(hf.LlamaConfig, hf.LlamaForCausalLM, num_hidden_layers=1,
                           **rope(rope_type="llama3", factor=8.0, original_max_position_embeddings=16,
                                  low_freq_factor=1.0, high_freq_factor=4.0)),
    "mistral": family(hf.MistralConfig, hf.MistralForCausalLM, num_hidden_layers=1, sliding_window=7),
    "qwen2": family(hf.Qwen2Config, hf.Qwen2ForCausalLM, use_sliding_window=True, sliding_window=6, max_window_layers=1),
    "qwen3": family(hf.Qwen3Config, hf.Qwen3ForCausalLM, num_hidden_layers=1, head_dim=12),
    "smollm3": family(hf.SmolLM3Config, hf.SmolLM3ForCausalLM, num_hidden_layers=3, no_rope_layer_interval=2),
    "olmo2": family(hf.Olmo2Config, hf.Olmo2ForCausalLM),
    "phi3": family(hf.Phi3Config, hf.Phi3ForCausalLM, num_hidden_layers=1, sliding_window=20,
                   original_max_position_embeddings=16,
                   rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.5,
                                        short_factor=[1.0, 1.1], long_factor=[1.5, 4.0])),
    "gpt2": family(hf.GPT2Config, hf.GPT2LMHeadModel, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_inner=40,
                   tie_word_embeddings=True),
    "gpt_neox": family(hf.GPTNeoXConfig, hf.GPTNeoXForCausalLM,
                       rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)),
    "gpt_neox_sequential": family(hf.GPTNeoXConfig, hf.GPTNeoXForCausalLM, num_hidden_layers=1,
                                  use_parallel_residual=False),
    "gemma2": family(hf.Gemma2Config, hf.Gemma2ForCausalLM, head_dim=12, query_pre_attn_scalar=20, sliding_window=6,
                     attn_logit_softcapping=4.0, final_logit_softcapping=3.0, tie_word_embeddings=True),
    "gemma3": family(hf.Gemma3TextConfig, hf.Gemma3ForCausalLM, head_dim=12, query_pre_attn_scalar=20, sliding_window=6,
                     layer_types=["sliding_attention", "full_attention"], tie_word_embeddings=True,
                     rope_parameters=dict(full_attention=dict(rope_type="linear", factor=2.0, rope_theta=5000.0),
                                          sliding_attention=dict(rope_type="default", rope_theta=300.0))),
}


def reset_rotary(model):
    """Frequencies of the dynamic kinds outlive a forward pass; every document starts afresh here."""
    base = model.base_model
    if hasattr(base, "rotary_emb"):
        base.rotary_emb = type(base.rotary_emb)(model.config)


def logits_of(model, tokens):
    reset_rotary(model)
    return model(tokens[None], use_cache=False).logits[0]


def make(name):
    config_class, model_class, arguments = FAMILIES[name]
    if name == "gpt2":
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                    "num_key_value_heads", "max_position_embeddings"):
            arguments.pop(key)
    if name.startswith("gpt_neox"):
        arguments.pop("num_key_value_heads")
    torch.manual_seed(sum(map(ord, name)))
    config = config_class(**arguments, initializer_range=0.2)
    config._attn_implementation = "eager"
    model = model_class(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    out = OUT / name
    model.save_pretrained(out)
    documents = [torch.randint(3, VOCABULARY, (n,)) for n in (11, 29)]
    trained_from = 5
    tensors, total, count = {}, 0, 0
    for i, tokens in enumerate(documents):
        logits = logits_of(model, tokens)
        tensors[f"tokens.{i}"] = tokens
        tensors[f"logits.{i}"] = logits.detach().contiguous()
        total = total + torch.nn.functional.cross_entropy(logits[trained_from - 1:-1], tokens[trained_from:],
                                                          reduction="sum")
        count += len(tokens) - trained_from
    loss = total / count
    loss.backward()
    tensors["loss"] = loss.detach().reshape(1)
    if name not in WITHOUT_GRADIENTS:
        for key, parameter in model.named_parameters():
            tensors["grad." + key] = parameter.grad.contiguous()
    greedy = documents[0][:9]
    with torch.no_grad():
        for _ in range(7):  # stays within the original context of the kinds whose frequencies depend on the length
            greedy = torch.cat([greedy, logits_of(model, greedy)[-1:].argmax(-1)])
    tensors["greedy"] = greedy
    save_file(tensors, out / "reference.safetensors")
    (out / "reference.json").write_text(json.dumps({"trained_from": trained_from, "prompt": 9}) + "\n")
    print(name, sum(f.stat().st_size for f in out.iterdir()))


for chosen in sys.argv[1:] or FAMILIES:
    make(chosen)
