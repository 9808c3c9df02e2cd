"""Writes tests/golden/lora: adapters made by PEFT over tests/golden/tiny_llama, with logits, loss and gradients.

Needs torch, transformers, safetensors and peft. Run from the repository root after make_llama.py:
python scripts/golden/make_lora.py
"""
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

base = pathlib.Path("tests/golden/tiny_llama")
out = pathlib.Path("tests/golden/lora")
reference = load_file(base / "reference.safetensors")
trained_from = json.loads((base / "reference.json").read_text())["trained_from"]
tokens = reference["tokens"][None]

VARIANTS = {
    "lora": dict(r=4, lora_alpha=8, target_modules="all-linear"),
    "rslora": dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "down_proj"], use_rslora=True),
    "dora": dict(r=4, lora_alpha=8, target_modules="all-linear", use_dora=True),
}
for index, (name, settings) in enumerate(VARIANTS.items()):
    torch.manual_seed(index)
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base).float(),
                           LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings)).train()
    with torch.no_grad():  # away from the start, where half of the gradients are zero
        for parameter_name, parameter in model.named_parameters():
            if "lora_B" in parameter_name:
                parameter.copy_(0.3 * torch.randn_like(parameter))
            if "lora_magnitude" in parameter_name:
                parameter.mul_(1 + 0.2 * torch.rand_like(parameter))
    logits = model(tokens).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[trained_from - 1 : -1], tokens[0, trained_from:])
    loss.backward()
    gradients = {n.replace("base_model.model.", "").replace(".default", "").replace("vector.weight", "vector"): p.grad
                 for n, p in model.named_parameters() if p.grad is not None}
    directory = out / name
    shutil.rmtree(directory, ignore_errors=True)
    model.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    config = json.loads((directory / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "../../tiny_llama"
    config["target_modules"] = sorted(config["target_modules"])
    (directory / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    merged = model.merge_and_unload()
    save_file({"logits": logits.detach().contiguous(), "loss": loss.detach().reshape(1),
               "merged_q": merged.model.layers[0].self_attn.q_proj.weight.detach().contiguous(),
               **{f"grad.{k}": v.contiguous() for k, v in gradients.items()}}, directory / "reference.safetensors")
    print(name, float(loss), len(gradients))
