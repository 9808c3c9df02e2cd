"""Writes tests/golden/torch/ with torch.save.

state.bin           every dtype, views, shared storages, parameters, scalars, empty tensors
state.safetensors   the same values, contiguous
protocolN.bin       a small dictionary pickled with protocol N
nested.bin          a training checkpoint: {"epoch", "state_dict": {"module": …}}, nested.safetensors alike
old.bin             the format of torch before 1.6
hostile.bin         would call posix.system
script.pt           a TorchScript program

Run from the project root with a Python that has torch and safetensors.
"""

import os
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

DTYPES = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
    "f8_e4m3": torch.float8_e4m3fn, "f8_e5m2": torch.float8_e5m2,
    "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8,
    "u64": torch.uint64, "u32": torch.uint32, "u16": torch.uint16, "u8": torch.uint8,
}


class Hostile:
    def __reduce__(self):
        return os.system, ("exit 1",)


def every_kind():
    tensors = {name: torch.arange(6, dtype=torch.float32).reshape(2, 3).to(dtype) for name, dtype in DTYPES.items()}
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors |= {
        "bool": torch.tensor([True, False, True]), "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4),
        "no dims left": torch.zeros(3, 0, 2, dtype=torch.long), "whole": base, "transposed": base.t(),
        "rows": base[1:3], "columns": base[:, 2:5], "every second": base[::2, ::3], "expanded": base[:1].expand(3, 6),
        "permuted": torch.arange(24, dtype=torch.bfloat16).reshape(2, 3, 4).permute(2, 0, 1),
        "parameter": torch.nn.Parameter(torch.tensor([1.0, -2.0])),
        "frozen": torch.nn.Parameter(torch.tensor([[3.0]]), requires_grad=False),
        "buffer": torch.nn.Buffer(torch.tensor([4, 5])),
    }
    tensors["tied"] = tensors["f32"]
    return tensors


def plain(tensors):
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def make(folder):
    torch.manual_seed(1)
    tensors = every_kind()
    torch.save(OrderedDict(tensors) | {"steps": 7, "name": "x", "rate": 0.5, "nothing": None, "huge": 2**70},
               folder / "state.bin")
    save_file(plain(tensors), folder / "state.safetensors")

    for protocol in range(2, 6):
        torch.save({"weight": torch.tensor([1.0, 2.0]), "tags": {"a"} if protocol > 3 else ["a"]},
                   folder / f"protocol{protocol}.bin", pickle_protocol=protocol)

    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, "optimizer": optimizer.state_dict(), "state_dict": {"module": model.state_dict()}},
               folder / "nested.bin")
    save_file(plain(model.state_dict()), folder / "nested.safetensors")

    torch.save({"a": torch.ones(2)}, folder / "old.bin", _use_new_zipfile_serialization=False)
    torch.save({"a": torch.ones(2), "b": Hostile()}, folder / "hostile.bin")
    torch.jit.script(torch.nn.Linear(1, 1)).save(folder / "script.pt")


target = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/torch")
target.mkdir(parents=True, exist_ok=True)
make(target)
for path in sorted(target.iterdir()):
    print(path, path.stat().st_size, "bytes")
