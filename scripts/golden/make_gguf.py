"""Writes tests/golden/gguf/ with the Python `gguf` package.

types.gguf           one tensor of every format that Continuo decodes; quantised ones hold random blocks
types.safetensors    the same tensors as the package decodes them, float32
writer.gguf          metadata of every type and tensors that the package quantised from the values in
writer.safetensors   which the test gives to our writer, whose file must be equal to the byte

Run from the project root with a Python that has gguf, numpy and safetensors.
"""

import sys
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type, GGUFValueType as Value
from safetensors.numpy import save_file

random = np.random.default_rng(7)
ROWS, COLUMNS = 2, 512
DECODED = [Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K,
           Type.Q6_K, Type.MXFP4]
# Where a block has half-precision factors; every other byte may be anything.
FACTORS = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.Q2_K: [80, 82],
           Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208], Type.MXFP4: []}


def random_blocks(kind):
    """[ROWS, bytes of a row] uint8 whose factors are finite."""
    size, width = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (ROWS * COLUMNS // size, width), dtype=np.uint8)
    for place in FACTORS[kind]:
        factors = random.normal(0, 0.1, len(blocks)).astype(np.float16)
        factors[-1] = np.float16(3e-7)  # subnormal
        blocks[:, place:place + 2] = factors.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(ROWS, -1)


def write(path, metadata, tensors):
    """metadata: (key, value, type, type of elements); tensors: (name, array, format or None)."""
    writer = gguf.GGUFWriter(path, "test")
    for key, value, kind, element in metadata:
        writer.add_key_value(key, value, kind, sub_type=element)
    for name, array, kind in tensors:
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_types(folder):
    tensors, decoded = [], {}
    for kind in DECODED:
        blocks = random_blocks(kind)
        tensors.append((kind.name, blocks, kind))
        decoded[kind.name] = gguf.quants.dequantize(blocks, kind)
    values = random.normal(0, 1, (3, 5)).astype(np.float32)
    bf16 = gguf.quants.quantize(values, Type.BF16)
    tensors += [("F32", values, None), ("F16", values.astype(np.float16), None), ("BF16", bf16, Type.BF16),
                ("F64", values.astype(np.float64), None)]
    decoded |= {"F32": values, "F16": values.astype(np.float16).astype(np.float32),
                "BF16": gguf.quants.dequantize(bf16, Type.BF16), "F64": values}
    for bits in (8, 16, 32, 64):
        whole = np.arange(-6, 6).reshape(1, 3, 4)
        tensors.append((f"I{bits}", whole.astype(f"int{bits}"), None))
        decoded[f"I{bits}"] = whole.astype(np.float32)
    write(folder / "types.gguf", [], tensors)
    save_file(decoded, folder / "types.safetensors")


def hard_values():
    """Rows of 256: normal, tiny, huge, zero, constant, ties, alternating, one outlier."""
    rows = [random.normal(0, 1, 256), random.normal(0, 1e-6, 256), random.normal(0, 1e4, 256), np.zeros(256),
            np.full(256, -0.37), np.arange(256) % 17 - 8.0, np.where(np.arange(256) % 2, 1.0, -1.0),
            np.where(np.arange(256) == 40, 50.0, random.normal(0, 0.01, 256)), random.normal(0, 1e-9, 256)]
    return np.clip(np.stack(rows), -65504, 65504).astype(np.float32)


def make_writer(folder):
    metadata = [
        ("a.u8", 200, Value.UINT8, None), ("a.i8", -100, Value.INT8, None), ("a.u16", 60000, Value.UINT16, None),
        ("a.i16", -30000, Value.INT16, None), ("a.u32", 4000000000, Value.UINT32, None),
        ("a.i32", -2000000000, Value.INT32, None), ("a.f32", 0.1, Value.FLOAT32, None), ("a.bool", True, Value.BOOL, None),
        ("a.string", "naïve \"text\"\n", Value.STRING, None), ("a.u64", 2**63 + 5, Value.UINT64, None),
        ("a.i64", -2**60, Value.INT64, None), ("a.f64", 0.1, Value.FLOAT64, None),
        ("l.strings", ["a", "", "ß"], Value.ARRAY, Value.STRING), ("l.bools", [True, False], Value.ARRAY, Value.BOOL),
        ("l.f32", [0.5, -2.0], Value.ARRAY, Value.FLOAT32), ("l.i32", [1, -2, 3], Value.ARRAY, Value.INT32),
        ("l.u8", [1, 2, 255], Value.ARRAY, Value.UINT8), ("l.u64", [2**64 - 1], Value.ARRAY, Value.UINT64),
    ]
    values = hard_values()
    few = values[:3, :5].copy()
    tensors = [("few.f32", few, None), ("few.f16", few.astype(np.float16), None),
               ("few.bf16", gguf.quants.quantize(few, Type.BF16), Type.BF16)]
    for kind in (Type.Q8_0, Type.Q4_0, Type.BF16):
        tensors.append((f"values.{kind.name}", gguf.quants.quantize(values, kind), kind))
    tensors.append(("values.F16", values.astype(np.float16), None))
    tensors.append(("vector", np.arange(7, dtype=np.int32), None))
    write(folder / "writer.gguf", metadata, tensors)
    save_file({"few": few, "values": values, "vector": np.arange(7, dtype=np.int32)}, folder / "writer.safetensors")


target = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/gguf")
target.mkdir(parents=True, exist_ok=True)
make_types(target)
make_writer(target)
for path in sorted(target.iterdir()):
    print(path, path.stat().st_size, "bytes")
