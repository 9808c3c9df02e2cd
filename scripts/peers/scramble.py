"""Writes a model that computes what another does out of weights that lie on no grid.

    scramble.py MODEL_DIR --to DIR

Models that come back from a quantised file hold at most 16 values in 32 neighbours, and any quantiser that finds
those loses nothing: it cannot be judged on them. Here the channels of the residual stream, of the MLPs and of the
values change places, so that neighbours come from different blocks, and the last two change sizes as well (by up to
a quarter, taken back by the matrix that reads them). Names as in Llama's and Gemma's directories, in float32."""
import argparse
import json
import pathlib
import shutil

import numpy as np
from safetensors.numpy import load_file, save_file

a = argparse.ArgumentParser()
a.add_argument("model", type=pathlib.Path)
a.add_argument("--to", type=pathlib.Path, required=True)
a = a.parse_args()
config = json.loads((a.model / "config.json").read_text())
weights = {}
for file in sorted(a.model.glob("*.safetensors")):
    weights.update(load_file(file))
random = np.random.default_rng(1)


def channels(count):
    return random.permutation(count), np.exp(random.uniform(-0.22, 0.22, count)).astype(np.float32)


heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
residual, _ = channels(config["hidden_size"])
for layer in range(config["num_hidden_layers"]):
    at = f"model.layers.{layer}."
    order, size = channels(config["intermediate_size"])
    weights[at + "mlp.gate_proj.weight"] = weights[at + "mlp.gate_proj.weight"][order]
    weights[at + "mlp.up_proj.weight"] = weights[at + "mlp.up_proj.weight"][order] * size[:, None]
    weights[at + "mlp.down_proj.weight"] = weights[at + "mlp.down_proj.weight"][:, order] / size
    values = weights[at + "self_attn.v_proj.weight"]
    width = len(values) // groups
    orders, sizes = zip(*(channels(width) for _ in range(groups)))
    weights[at + "self_attn.v_proj.weight"] = np.concatenate(
        [values[g * width + orders[g]] * sizes[g][:, None] for g in range(groups)])
    read = weights[at + "self_attn.o_proj.weight"]
    weights[at + "self_attn.o_proj.weight"] = np.concatenate(
        [read[:, h * width + orders[g]] / sizes[g] for h in range(heads) for g in [h * groups // heads]], axis=1)

for name, value in weights.items():
    writes = name.endswith(("o_proj.weight", "down_proj.weight"))
    inner = name.endswith(("q_norm.weight", "k_norm.weight"))
    if not inner:
        weights[name] = np.ascontiguousarray(value[residual] if writes or value.ndim == 1 else value[:, residual])
a.to.mkdir(parents=True, exist_ok=True)
for file in a.model.iterdir():
    if file.suffix not in (".safetensors", ".gguf") and not file.name.endswith(".index.json") and file.is_file():
        shutil.copy(file, a.to)
save_file(weights, a.to / "model.safetensors", {"format": "pt"})
