"""What `gpu_check.sh run` does on the machine with the GPU: tests, figures, one table."""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

PEAK = 989e12  # multiply-adds of bf16 a second, times two: an H100's or H200's data sheet
TESTS = ("nn", "models", "toys", "generate", "train")
# Tests that fork: a process that has used the GPU cannot. Those of ranks have processes of their own.
FORKING = "*Rank*:*PartedFlat*:*LoraTraining*:*Kill*"
RANKS = "PartedFlat.*:Ranks.CountTheWeightsOfAllRows:Ranks.AMaskedMicroBatchHangsNobody:*RanksShardTest.TrainInBfloat16*"
KERNELS = "*CudaKernel*"
SHAPES = {
    "1.2B": dict(layers=16, hidden=2048, heads=32, kv_heads=8, intermediate=8192, context=131072, tie_embeddings="true"),
    "8B": dict(layers=32, hidden=4096, heads=32, kv_heads=8, intermediate=14336, context=131072, tie_embeddings="false"),
}
VOCABULARY = 128256


def shape(name):
    return [f"model.{key}={value}" for key, value in SHAPES[name].items()] + [f"vocabulary={VOCABULARY}"]


def rows_of(name, rows):
    return ["bench", "train", "device=cuda", "dtype=bf16", *shape(name), f"rows={rows}", "prompt_tokens=512",
            "completion_tokens=1536", "micro_tokens=16384", "steps=4", "warmup=2"]


def decode(name, batch, *settings):
    return ["bench", "generate", "device=cuda", "dtype=bf16", *shape(name), f"batches=[{batch}]", "new_tokens=64",
            "prefill=2048", "repeats=2", *settings]


def peer(name, batch):
    s = SHAPES[name]
    config = {"num_hidden_layers": s["layers"], "hidden_size": s["hidden"], "num_attention_heads": s["heads"],
              "num_key_value_heads": s["kv_heads"], "intermediate_size": s["intermediate"], "vocab_size": VOCABULARY,
              "max_position_embeddings": s["context"], "tie_word_embeddings": s["tie_embeddings"] == "true"}
    return [sys.executable, "transformers_generate.py", "--device=cuda", "--dtype=bfloat16", f"--batch={batch}",
            "--new-tokens=64", "--repeats=2", f"--shape={json.dumps(config)}"]


def rate(line):
    return line["real_tokens_per_s"]


# What is measured: a name, the command, which of its lines, the figure, its unit and the goal.
FIGURES = [
    ("SFT 1.2B, rows of 2,048", rows_of("1.2B", 8), "train", rate, "tokens/s", 45000),
    ("LoRA 8B, rows of 2,048", rows_of("8B", 8) + ["lora.rank=16"], "train", rate, "tokens/s", 12000),
    ("decode 1.2B, 1 sequence", decode("1.2B", 1), "decode", lambda l: l["read_gb_per_s"], "GB/s", None),
    ("decode 8B, 1 sequence", decode("8B", 1), "decode", lambda l: l["read_gb_per_s"], "GB/s", None),
    ("decode 8B in 8 bits, 1 sequence", decode("8B", 1, "weights=q8", "cuda.kernels=all"), "decode",
     lambda l: l["read_gb_per_s"], "GB/s", None),
    ("decode 8B in 4 bits, 1 sequence", decode("8B", 1, "weights=q4", "cuda.kernels=all"), "decode",
     lambda l: l["read_gb_per_s"], "GB/s", None),
    ("decode 8B, 32 sequences", decode("8B", 32), "decode", lambda l: l["decode_tokens_per_s"], "tokens/s", None),
    ("decode 8B, 256 sequences", decode("8B", 256), "decode", lambda l: l["decode_tokens_per_s"], "tokens/s", None),
]
PEERS = [(f"transformers: decode {name}, {batch} sequences", peer(name, batch))
         for name, batch in (("1.2B", 1), ("8B", 1), ("8B", 32))]


class Check:
    def __init__(self, out):
        self.out = open(out, "a", encoding="utf-8")
        self.rows = []
        self.failed = False

    def note(self, name, figure, verdict, **details):
        self.rows.append((name, figure, verdict))
        self.out.write(json.dumps({"name": name, "figure": figure, "verdict": verdict, **details}) + "\n")
        self.out.flush()
        print(f"{name:48} {figure:>28}  {verdict}", flush=True)

    def test(self, name, binary, filter, seconds, under=(), **variables):
        environment = {**os.environ, "CONTINUO_TEST_DEVICE": "cuda", "GTEST_FILTER": filter, **variables}
        start = time.time()
        try:
            done = subprocess.run([*under, f"bin/{binary}_test"], env=environment, timeout=seconds, capture_output=True,
                                  text=True, errors="replace")
            text, code = done.stdout + done.stderr, done.returncode
        except subprocess.TimeoutExpired as over:
            text, code = (over.stdout or b"").decode(errors="replace"), "ran out of time"
        passed = re.search(r"\[  PASSED  \] (\d+)", text)
        broken = sorted(set(re.findall(r"\[  FAILED  \] ([^\s,(]+)", text)))
        self.failed |= code != 0
        self.note(name, f"{passed.group(1) if passed else 0} passed, {time.time() - start:.0f} s",
                  "ok" if code == 0 else f"exit {code}: {', '.join(broken[:6])}", broken=broken,
                  tail=text[-6000:] if code != 0 else "")

    def figure(self, name, command, what, figure, unit, goal):
        try:
            done = subprocess.run(command, timeout=150, capture_output=True, text=True)
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            line = next(line for line in lines if line["what"] == what)
        except (subprocess.TimeoutExpired, StopIteration) as error:
            tail = getattr(error, "stderr", None) or (done.stderr if "done" in locals() else "")
            self.note(name, "none", "did not finish", tail=str(tail)[-3000:])
            return
        value = figure(line)
        extra = f", {100 * line['gflop_per_s'] * 1e9 / PEAK:.0f} % of 989 TFLOP/s" if "gflop_per_s" in line else ""
        verdict = "" if goal is None else ("ok" if value >= goal else f"goal {goal}")
        self.note(name, f"{value:,.0f} {unit}{extra}", verdict, line=line)


def card():
    names = ["name", "driver_version", "memory.total", "clocks.max.sm"]
    try:
        found = subprocess.run(["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader"],
                               capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        found = ""
    if not found:
        sys.exit("nvidia-smi finds no GPU here: this part runs on a machine with one")
    return found


def copy_bandwidth():
    import torch
    a = torch.empty(1 << 30, dtype=torch.int16, device="cuda")
    b = torch.empty_like(a)
    best = 0
    for _ in range(8):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        b.copy_(a)
        end.record()
        torch.cuda.synchronize()
        best = max(best, 2 * a.nbytes / start.elapsed_time(end) / 1e6)
    return best


def run_tests(check, quick):
    check.test("kernels against double, all of them", "nn", f"{KERNELS}:*BackendTest*/cuda:*SlotCache*", 90,
               CONTINUO_CUDA_KERNELS="all")
    check.test("graphs", "nn", "GraphExecutor*", 60, CONTINUO_CUDA_KERNELS="all")
    for kernels in ("proven", "all"):
        names = TESTS[:2] if quick else TESTS if kernels == "proven" else ("nn", "models", "generate")
        for name in names:
            check.test(f"{name}, {kernels} kernels", name, f"-{FORKING}", 90, CONTINUO_CUDA_KERNELS=kernels)
    if quick:
        return
    check.test("ranks that share the GPU, by way of the host", "train", RANKS, 120)
    sanitizer = shutil.which("compute-sanitizer", path=f"{os.environ['PATH']}:/usr/local/cuda/bin")
    for tool in ("memcheck", "racecheck"):
        if sanitizer:
            check.test(f"kernels under {tool}", "nn", KERNELS, 60,
                       under=(sanitizer, f"--tool={tool}", "--error-exitcode=1"), CONTINUO_CUDA_KERNELS="all")
        else:
            check.note(f"kernels under {tool}", "none", "compute-sanitizer is not there")


def run_figures(check, quick):
    check.note("copies of the device's memory", f"{copy_bandwidth():,.0f} GB/s", "")
    for figure in FIGURES[:1] + FIGURES[2:3] if quick else FIGURES:
        name, arguments, *rest = figure
        command = ["bin/continuo", *arguments]
        check.figure(name, command, *rest)
        if "cuda.kernels=all" in command:
            continue
        check.figure(f"{name}, all kernels", [*command, "cuda.kernels=all"], *rest)
    for name, command in PEERS[:1] if quick else PEERS:
        check.figure(name, command, "decode", lambda line: line["tokens_per_s"], "tokens/s", None)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", choices=("tests", "figures"))
    options.add_argument("--quick", action="store_true", help="the first tests and two figures")
    options = options.parse_args()
    check = Check(pathlib.Path(os.environ.get("OUT", ".")) / "gpu_check.jsonl")
    check.note("card", card(), "")
    check.note("commit", pathlib.Path("commit").read_text().strip()[:12], "")
    if options.only != "figures":
        run_tests(check, options.quick)
    if options.only != "tests":
        run_figures(check, options.quick)
    print("\n| what | figure | |\n|---|---|---|")
    for row in check.rows:
        print("| " + " | ".join(row) + " |")
    sys.exit(1 if check.failed else 0)


main()
