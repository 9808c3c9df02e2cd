"""Opens checkpoints that Continuo saved with transformers and compares the logits with those of the originals under
tests/golden/families. Run from the repository root: python scripts/golden/check_families.py DIRECTORY

DIRECTORY holds one checkpoint per golden family, by its name; FamilyTest writes them where CONTINUO_SAVED_FAMILIES names
a directory.
"""
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

worst = 0
for golden in sorted(pathlib.Path("tests/golden/families").iterdir()):
    reference = load_file(golden / "reference.safetensors")
    differences = []
    for i in (0, 1):
        model, info = AutoModelForCausalLM.from_pretrained(
            pathlib.Path(sys.argv[1]) / golden.name, dtype=torch.float32, attn_implementation="eager",
            output_loading_info=True)
        with torch.no_grad():
            logits = model.eval()(reference[f"tokens.{i}"][None], use_cache=False).logits[0]
        differences.append((logits - reference[f"logits.{i}"]).abs().max().item())
    strange = {key: value for key, value in info.items() if value}
    print(f"{golden.name:24} {type(model).__name__:24} {max(differences):.2e} {strange or ''}")
    worst = max(worst, *differences)
sys.exit(worst > 1e-5)
