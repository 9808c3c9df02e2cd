"""Writes tests/golden/reference.safetensors with the Python `safetensors` package.

Run from the project root with a Python that has torch and safetensors. The values are simple functions of the
index, so the test states them again instead of trusting this file.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

NAMES = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
    "f8_e4m3": torch.float8_e4m3fn, "f8_e5m2": torch.float8_e5m2,
    "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8,
    "u64": torch.uint64, "u32": torch.uint32, "u16": torch.uint16, "u8": torch.uint8,
}

tensors = {name: torch.arange(6, dtype=torch.float32).reshape(2, 3).to(dtype) for name, dtype in NAMES.items()}
tensors["bool"] = torch.tensor([True, False, True])
tensors["scalar"] = torch.tensor(2.5)
tensors["empty"] = torch.zeros(0, 4)
tensors["naïve \"name\""] = torch.tensor([7], dtype=torch.uint8)

target = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/reference.safetensors")
save_file(tensors, target, metadata={"format": "pt", "made by": "Python"})
print(target, target.stat().st_size, "bytes")
