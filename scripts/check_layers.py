#!/usr/bin/env python3
"""Holds every #include of ours to the arrows of the house, because link dependencies cannot stop an #include,
and forbids circles between files: a header with its source counts as one, so that each can be read after those
that it includes. Tests name their headers from tests/ on, and take those of another layer's tests nowhere but from
tests/support.

usage: check_layers.py [ROOT] [--self-test]

Prints file:line of each breach and exits 1 when there is one.
"""

import pathlib
import re
import sys
import tempfile

# What a layer may include besides itself. A file belongs to the layer with the longest name that its path begins with.
ARROWS = {
    "core": set(),
    "comm": {"core"},
    "text/jinja": {"core"},
    "text/tokenizer": {"core"},
    "text/prompt": {"core", "text/jinja", "text/tokenizer"},
    "data": {"core", "text/tokenizer", "text/prompt"},
    "io": {"core"},
    "nn": {"core"},
    "nn/adapters": {"core", "nn"},
    "nn/aten": {"core", "nn"},
    "nn/cpu": {"core", "nn", "nn/aten"},
    "nn/cuda": {"core", "nn", "nn/aten"},
    "models/families": {"core", "nn"},
    "models/store": {"core", "nn", "nn/adapters", "io", "models/families"},
    "train": {"core", "comm", "text/tokenizer", "data", "nn", "nn/adapters", "io"},
    "generate/sampling": {"core"},
    "generate/draft": {"core", "nn", "generate", "generate/sampling"},
    "generate": {"core", "nn", "generate/sampling", "generate/draft"},
}
LIBRARY = set(ARROWS)
ARROWS["app"] = LIBRARY
ARROWS["bench"] = LIBRARY | {"app"}
ARROWS["cli"] = LIBRARY | {"app", "bench"}
# Sampling works on rows of logits in host memory, with the CPU's kernels wherever the model is.
ARROWS["generate/sampling"] = ARROWS["generate/sampling"] | {"nn/cpu"}
TOPS = {layer.split("/")[0] for layer in ARROWS}
TORCH_FREE = {"core", "text/jinja", "text/tokenizer", "text/prompt"}
# The only files of data that know tensors.
DATA_TORCH = {"batch.h", "batch.cpp"}
HEADERS = {".h", ".hpp", ".cuh"}
SOURCES = HEADERS | {".cpp", ".cc", ".cu"}

INCLUDE = re.compile(r'^\s*#\s*(?:include|import)\s*([<"])([^>"]+)[>"]')
BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def includes(path):
    """(line number, '<' or '"', target) of every #include that is not in a block comment."""
    text = path.read_text(encoding="utf-8", errors="replace")
    text = BLOCK_COMMENT.sub(lambda match: "\n" * match.group().count("\n"), text)
    for number, line in enumerate(text.split("\n"), 1):
        if match := INCLUDE.match(line):
            yield number, match.group(1), match.group(2)


def faults_of_include(layer, path, bracket, target):
    """Why a file of `layer` must not include `target`."""
    if target.split("/")[0] in ("torch", "ATen", "c10"):
        if layer in TORCH_FREE:
            yield f"{layer} is free of torch, but includes {target}"
        if layer == "data" and path.name not in DATA_TORCH:
            yield f"data knows tensors in batch.h and batch.cpp only, but includes {target}"
        if path.suffix in HEADERS and target == "torch/torch.h":
            yield "<torch/torch.h> belongs in no header; include what is needed from ATen"
        return
    if target.split("/")[0] in TOPS and "/" in target:
        other = layer_of(target)
        if other is None:
            yield f"{target} is in no layer"
        elif other != layer and other not in ARROWS[layer]:
            allowed = ", ".join(sorted(ARROWS[layer])) or "nothing else"
            yield f"{layer} must not include {other}/ ({target}); it may include {allowed}"
        if bracket == "<":
            yield f"our own header {target} is included with <>; use quotes"
        return
    if bracket == '"':
        if target.startswith("."):
            yield f'"{target}" is relative; include from the source root'
        elif "/" not in target:
            yield f'"{target}" names no layer; include from the source root: "{layer}/{target}"'


def layer_of(name):
    """The layer of a file named from a root of includes ("nn/cpu/team.h" is of nn/cpu), or None."""
    parts = name.split("/")[:-1]
    while parts and "/".join(parts) not in ARROWS:
        parts.pop()
    return "/".join(parts) or None


def sources(root):
    """(path, name from the root of includes) of every header and source of the product."""
    for base, directory in ((root, root / "models"), (root / "src", root / "src")):
        for path in sorted(p for p in directory.rglob("*") if p.suffix in SOURCES):
            yield path, path.relative_to(base).as_posix()


def check_tests(root):
    """Breaches of the tests: headers that are not named from a root, and those of another layer's tests."""
    tests = root / "tests"
    for path in sorted(p for p in tests.rglob("*") if p.suffix in SOURCES):
        layer = path.relative_to(tests).parts[0]
        for number, bracket, target in includes(path):
            top = target.split("/")[0]
            fault = None
            if bracket == '"' and (target.startswith(".") or "/" not in target):
                fault = f'"{target}" is not named from a root; write "{layer}/…" or "support/…"'
            elif (tests / target).is_file() and top not in (layer, "support"):
                fault = f"{target} belongs to other tests; what several layers need lies in tests/support"
            if fault:
                yield f"{path.relative_to(root)}:{number}: {fault}"


def include_graph(root):
    """The files of ours by their names without suffix, each with those that it includes."""
    graph = {}
    for path, _ in sources(root):
        edges = graph.setdefault(str(path.relative_to(root).with_suffix("")), set())
        for _, _, target in includes(path):
            for base in (root, root / "src"):
                if (base / target).is_file():
                    edges.add(str((base / target).relative_to(root).with_suffix("")))
    return graph


def circles(graph):
    """The sets of several files that include each other, directly or through others (Tarjan's components)."""
    index, low, stack, found = {}, {}, [], []

    def visit(file):
        index[file] = low[file] = len(index)
        stack.append(file)
        for other in graph[file]:
            if other not in index:
                visit(other)
                low[file] = min(low[file], low[other])
            elif other in stack:
                low[file] = min(low[file], index[other])
        if low[file] == index[file]:
            at = stack.index(file)
            found.append(frozenset(stack[at:]))
            del stack[at:]

    for file in sorted(graph):
        if file not in index:
            visit(file)
    return {component for component in found if len(component) > 1}


def faults_of_circles(found):
    for circle in sorted(map(sorted, found)):
        yield f"{' ↔ '.join(circle)}: these files include each other; move what they share into a file of its own"


def check(root):
    """(breaches of layers, number of files looked at)."""
    breaches, count = [], 0
    for path, name in sources(root):
        count += 1
        layer = layer_of(name)
        if layer is None:
            breaches.append(f"{path.relative_to(root)}: in no layer; name one in scripts/check_layers.py")
            continue
        for number, bracket, target in includes(path):
            for fault in faults_of_include(layer, path, bracket, target):
                breaches.append(f"{path.relative_to(root)}:{number}: {fault}")
    return breaches, count


# file, line, whether it is a breach
PLANTED = [
    ("src/core/a.h", '#include "text/tokenizer/tokenizer.h"', True),
    ("src/core/b.cpp", "#include <ATen/ATen.h>", True),
    ("src/core/c.cpp", "#include <c10/core/Device.h>", True),
    ("src/core/config/d.cpp", '#include "core/error.h"', False),
    ("src/core/e.cpp", "#include <fmt/format.h>", False),
    ("src/core/f.cpp", '#include "error.h"', True),
    ("src/core/g.cpp", '#include "../core/error.h"', True),
    ("src/core/h.cpp", "#include <core/error.h>", True),
    ("src/core/i.cpp", '/*\n#include "text/tokenizer/tokenizer.h"\n*/', False),
    ("src/core/j.cpp", '// #include "text/tokenizer/tokenizer.h"', False),
    ("src/core/k.cpp", '  #  include "text/tokenizer/tokenizer.h"', True),
    ("src/text/jinja/a.cpp", '#include "text/tokenizer/tokenizer.h"', True),
    ("src/text/tokenizer/a.cpp", '#include "core/error.h"', False),
    ("src/text/tokenizer/b.cpp", '#include "text/prompt/segment.h"', True),
    ("src/text/prompt/a.cpp", '#include "text/jinja/render.h"', False),
    ("src/text/prompt/b.cpp", '#include "data/example.h"', True),
    ("src/text/prompt/c.cpp", "#include <torch/torch.h>", True),
    ("src/text/d.cpp", "int x;", True),
    ("src/data/a.cpp", '#include "text/prompt/prompt_template.h"', False),
    ("src/data/c.cpp", '#include "text/jinja/render.h"', True),
    ("src/data/batch.h", "#include <ATen/core/Tensor.h>", False),
    ("src/data/batch.cpp", "#include <ATen/ATen.h>", False),
    ("src/data/example.h", "#include <ATen/core/Tensor.h>", True),
    ("src/data/b.cpp", '#include "nn/ragged.h"', True),
    ("src/nn/a.cpp", '#include "text/tokenizer/tokenizer.h"', True),
    ("src/nn/c.cpp", '#include "nn/adapters/lora.h"', True),
    ("src/nn/adapters/a.cpp", '#include "nn/linear.h"', False),
    ("src/nn/d.cpp", '#include "nn/cpu/matmul.h"', True),
    ("src/nn/aten/a.cpp", '#include "nn/cpu/matmul.h"', True),
    ("src/nn/cpu/a.cpp", '#include "nn/adapters/lora.h"', True),
    ("src/nn/cpu/kernels/a.cpp", '#include "core/error.h"', False),
    ("src/nn/cpu/kernels/b.cpp", '#include "io/safetensors.h"', True),
    ("src/nn/b.h", "#include <torch/torch.h>", True),
    ("src/nn/b.cpp", "#include <torch/torch.h>", False),
    ("src/io/a.cpp", '#include "models/families/llama.h"', True),
    ("src/io/b.cpp", '#include "nn/decoder.h"', True),
    ("src/train/a.cpp", '#include "generate/generator.h"', True),
    ("src/train/b.cpp", '#include "models/families/registry.h"', True),
    ("src/train/c.cpp", '#include "data/batch.h"', False),
    ("src/train/d.cpp", '#include "nn/decoder.h"', False),
    ("src/train/e.cpp", '#include "io/safetensors.h"', False),
    ("src/generate/a.cpp", '#include "train/trainer.h"', True),
    ("src/generate/b.cpp", '#include "models/families/registry.h"', True),
    ("src/generate/c.cpp", '#include "text/tokenizer/tokenizer.h"', True),
    ("src/generate/d.cpp", '#include "nn/kv_cache.h"', False),
    ("src/generate/sampling/stages/a.h", '#include "generate/generator.h"', True),
    ("src/generate/draft/a.h", '#include "generate/sampling/noise.h"', False),
    ("src/app/a.cpp", '#include "train/trainer.h"', False),
    ("src/app/b.cpp", '#include "cli/session.h"', True),
    ("src/bench/a.cpp", '#include "cli/session.h"', True),
    ("src/cli/a.cpp", '#include "app/settings.h"', False),
    ("src/cli/b.cpp", '#include "models/lost.h"', True),
    ("models/families/a.cpp", '#include "nn/decoder.h"', False),
    ("models/families/d.cpp", '#include "models/store/model.h"', True),
    ("models/store/b.cpp", '#include "io/safetensors.h"', False),
    ("models/store/c.cpp", '#include "train/trainer.h"', True),
    ("src/extra/a.cpp", "int x;", True),
]


def self_test():
    """Faults of the checker itself."""
    faults = []
    for name, line, breach in PLANTED:
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            (root / "src").mkdir()
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#pragma once\n" + line + "\n", encoding="utf-8")
            breaches, _ = check(root)
            if bool(breaches) != breach:
                faults.append(f"{name} with {line!r}: expected {'a breach' if breach else 'none'}, found {breaches}")
            elif breach and line.startswith(("#", "  #")) and not breaches[0].startswith(f"{name}:2: "):
                faults.append(f"{name}: wrong place in {breaches[0]!r}")
    return faults + self_test_tests() + self_test_circles()


def self_test_tests():
    """Faults of the check of tests."""
    lines = [('#include "nn/fake.h"', False), ('#include "support/a.h"', False), ('#include "core/error.h"', False),
             ("#include <vector>", False), ('#include "fake.h"', True), ('#include "../support/a.h"', True),
             ('#include "core/mine.h"', True)]
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for name in ("tests/nn/fake.h", "tests/support/a.h", "tests/core/mine.h", "tests/nn/x_test.cpp"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("\n".join(line for line, _ in lines) if name.endswith(".cpp") else "",
                                     encoding="utf-8")
        found = [breach.split(": ")[0] for breach in check_tests(root)]
    expected = [f"tests/nn/x_test.cpp:{number}" for number, (_, breach) in enumerate(lines, 1) if breach]
    return [] if found == expected else [f"tests: expected breaches at {expected}, found {found}"]


def self_test_circles():
    """Faults of the search for circles."""
    files = {"src/core/a.h": "core/b.h", "src/core/b.cpp": "core/c.h", "src/core/b.h": "", "src/core/c.h": "core/a.h",
             "src/core/d.h": "core/a.h", "src/core/e.cpp": "core/e.h", "src/core/e.h": "core/d.h"}
    circle = frozenset({"src/core/a", "src/core/b", "src/core/c"})
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        (root / "src/core").mkdir(parents=True)
        for name, target in files.items():
            (root / name).write_text(f'#include "{target}"\n' if target else "", encoding="utf-8")
        found = circles(include_graph(root))
    good = found == {circle} and len(list(faults_of_circles(found))) == 1
    return [] if good else [f"circles: expected {set(circle)}, found {found}"]


def main():
    arguments = [a for a in sys.argv[1:] if a != "--self-test"]
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parent.parent)
    # The checker is tested every time: it costs milliseconds, and a checker that sees nothing looks like a clean house.
    faults = self_test()
    for fault in faults:
        print(f"self-test: {fault}")
    if faults or "--self-test" in sys.argv[1:]:
        print(f"self-test: {len(PLANTED)} planted lines, {len(faults)} faults")
        return 1 if faults else 0
    breaches, count = check(root)
    breaches += check_tests(root)
    breaches += faults_of_circles(circles(include_graph(root)))
    for breach in breaches:
        print(breach)
    print(f"layers: {count} files, {len(breaches)} breaches")
    return 1 if breaches or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
