"""Writes tests/golden/tiny_llama: a random Llama made by transformers, its logits and the gradient of a completion loss.

Needs torch, transformers and safetensors. Run from the repository root: python scripts/golden/make_llama.py
"""
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

out = pathlib.Path("tests/golden/tiny_llama")
out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(7)
config = LlamaConfig(
    vocab_size=53, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6,
    num_key_value_heads=2, head_dim=4, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=500.0,
    tie_word_embeddings=False, attention_bias=True, bos_token_id=1, eos_token_id=2, initializer_range=0.3)
model = LlamaForCausalLM(config).float().eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.copy_(parameter + 0.2 * torch.randn_like(parameter))
model.save_pretrained(out)
tokens = torch.randint(0, 53, (1, 17))
trained_from = 6
logits = model(tokens).logits[0]
loss = torch.nn.functional.cross_entropy(logits[trained_from - 1 : -1], tokens[0, trained_from:])
loss.backward()
gradients = {name: p.grad.contiguous() for name, p in model.named_parameters()}
save_file({"tokens": tokens[0].to(torch.int64), "logits": logits.detach().contiguous(),
           "loss": loss.detach().reshape(1), **{f"grad.{k}": v for k, v in gradients.items()}},
          out / "reference.safetensors")
(out / "reference.json").write_text(json.dumps({"trained_from": trained_from}) + "\n")
