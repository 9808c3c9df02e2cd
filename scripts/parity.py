"""The comparisons of scripts/parity.sh: one line each with the figure, its bound and whether it holds."""
import argparse
import json
import pathlib
import re
import subprocess
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

arguments = argparse.ArgumentParser()
for name in ("build", "work", "model", "data", "prompt-field", "completion-field"):
    arguments.add_argument("--" + name, required=True)
arguments.add_argument("--gguf")
arguments.add_argument("--batch", type=int, default=8)
a = arguments.parse_args()
work = pathlib.Path(a.work)
rows = [json.loads(line) for line in open(a.data)][:100]
pairs = [{"prompt": row[a.prompt_field], "completion": row[a.completion_field]} for row in rows]
lines = []


def report(what, figure, bound, holds):
    lines.append((what, figure, bound, holds))
    print(f"{what:68} {figure:>18} {bound:>16}  {'holds' if holds else 'DOES NOT HOLD'}", flush=True)


def continuo(*words, quiet=True):
    return subprocess.run([f"{a.build}/continuo", *(["-q"] if quiet else []), *map(str, words)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def write_rows(name, records):
    path = work / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def families():
    """The golden checkpoints of every family, by the tests that compare them with transformers' values."""
    out = work / "families.json"
    subprocess.run([f"{a.build}/tests/models/models_test", "--gtest_filter=*Family*", f"--gtest_output=json:{out}"],
                   stdout=subprocess.DEVNULL)
    cases = {}
    for suite in json.loads(out.read_text())["testsuites"]:
        for test in suite["testsuite"]:
            family = re.sub(r'^.*?"?(\w+)"?$', r"\1", test.get("value_param", test["name"].split("/")[-1]))
            good, total = cases.get(family, (0, 0))
            cases[family] = (good + ("failures" not in test), total + 1)
    for family, (good, total) in sorted(cases.items()):
        if total > 1:
            report(f"{family}: logits, gradients, greedy text, saved tensors", f"{good} of {total} tests", "all", good == total)


def logits():
    # Everything trained: every position is compared.
    data = write_rows("text.jsonl", [{"text": f"{p['prompt']}\n{p['completion']}"} for p in pairs])
    continuo("eval", a.model, "--data", data, "--tokens", work / "tokens.jsonl", "--logits", work / "logits.safetensors",
             'prompt.prompt=""', 'prompt.completion="{text}"', "data.cache=" + str(work / "cache"))
    # In float64: in float32 transformers rounds about as much as we do, and two roundings would be compared.
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float64).eval()
    ours = load_file(work / "logits.safetensors")
    worst = nll = 0.0
    same = positions = 0
    texts = 0
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    with torch.inference_mode():
        for line in open(work / "tokens.jsonl"):
            row = json.loads(line)
            ids = torch.tensor(row["tokens"])
            text = json.loads(data.read_text().splitlines()[row["index"]])["text"]
            # BOS where the tokenizer itself opens a text with it.
            texts += tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] == row["tokens"]
            theirs = model(ids[None, :-1]).logits[0]
            at = torch.tensor(row["trained"])
            logp = torch.log_softmax(theirs, -1)[at - 1]
            nll = max(nll, (-logp.gather(1, ids[at][:, None])[:, 0] - torch.tensor(row["nll"])).abs().max().item())
            # Two logits that are nearly equal may change places by rounding.
            chosen = theirs[at - 1].gather(1, torch.tensor(row["argmax"])[:, None])[:, 0]
            same += (theirs[at - 1].amax(-1) - chosen <= 1e-3).sum().item()
            positions += len(at)
            key = f"{row['index']}.logits"
            if key in ours:
                worst = max(worst, (theirs - ours[key]).abs().max().item())
    report(f"token ids of {len(pairs)} rows", f"{texts} equal", f"{len(pairs)}", texts == len(pairs))
    report("logits of 8 rows, fp32: largest difference", f"{worst:.2e}", "2e-3", worst <= 2e-3)
    report(f"argmax at {positions} positions, to within 1e-3", f"{same} equal", f"{positions}", same == positions)
    report("nll per token, fp32: largest difference", f"{nll:.2e}", "1e-4", nll <= 1e-4)


def greedy(prompts=50, length=32, first=8):
    """Texts continued as they are, by the most probable token."""
    texts = [p["prompt"] for p in pairs][:prompts]
    data = write_rows("texts.jsonl", [{"text": text} for text in texts])
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(a.model)

    def continued(text):
        ids = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            out = model.generate(**ids, max_new_tokens=length, do_sample=False, repetition_penalty=1.0)
        return out[0, ids["input_ids"].shape[1]:].tolist()

    theirs = [continued(text) for text in texts]
    for name, path in (("directory", a.model), ("GGUF file", a.gguf)):
        if path:
            out = continuo("generate", path, "--raw", "--file", data, "--json", "--weights", "fp32", "sampler=[greedy]",
                           f"max_new_tokens={length}")
            ours = [json.loads(line) for line in out.splitlines()]
            begun = ["".join(token["text"] for token in row["tokens"][:first]) for row in ours]
            same = sum([token["id"] for token in row["tokens"]] == ids[:len(row["tokens"])]
                       for row, ids in zip(ours, theirs, strict=True))
            report(f"greedy tokens from the {name}, {length} a prompt", f"{same} equal", f"{len(texts)}", same == len(texts))
    if a.gguf:
        # Of ids, for its tokenizer cuts repeated spaces otherwise than transformers does.
        prompts = [tokenizer(text)["input_ids"] for text in texts]
        plain = work / "float32.gguf"
        continuo("convert", a.model, "--to", "gguf", "--type", "f32", "--out", plain)

        def llamacpp(file):
            return sum(ours == theirs for ours, theirs in zip(begun, llamacpp_texts(file, prompts, first), strict=True))

        same = llamacpp(plain)
        report(f"first {first} greedy tokens, llama.cpp, the weights in float32", f"{same} equal",
               f"{0.9 * len(texts):.0f}", same >= 0.9 * len(texts))
        # From quantised weights it rounds activations to 8 bits, so texts part sooner or later.
        report(f"first {first} greedy tokens, llama.cpp, the GGUF file", f"{llamacpp(a.gguf)} equal", "none", True)


def llamacpp_texts(file, prompts, length):
    """What llama.cpp continues each list of ids with; in a process of its own, which its server ends."""
    code = f"""
import json, os, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.verbosity = {str(file)!r}, 2048, 1, -1
server = xllamacpp.Server(params)
for prompt in json.load(sys.stdin):
    answer = server.handle_completions({{"prompt": prompt, "temperature": 0, "max_tokens": {length}, "cache_prompt": False}})
    answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
    print("RESULT" + json.dumps(answer["choices"][0]["text"]), flush=True)
os._exit(0)
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, input=json.dumps(prompts), stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True).stdout
    return [json.loads(line[6:]) for line in out.splitlines() if line.startswith("RESULT")]


def trl_steps(dtype, steps, batch):
    code = f"""
import json, torch
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
rows = [json.loads(line) for line in open({str(work / 'pairs.jsonl')!r})][:{steps * batch}]
data = Dataset.from_list([{{"prompt": r["prompt"] + "\\n", "completion": r["completion"]}} for r in rows])
class InOrder(SFTTrainer):
    def _get_train_sampler(self, *_, **__):
        return SequentialSampler(self.train_dataset)
trainer = InOrder(
    model=AutoModelForCausalLM.from_pretrained({a.model!r}, dtype=torch.float32, attn_implementation="sdpa"),
    processing_class=AutoTokenizer.from_pretrained({a.model!r}), train_dataset=data,
    args=SFTConfig(output_dir={str(work / 'trl')!r}, max_steps={steps}, per_device_train_batch_size={batch},
                   learning_rate=1e-4, lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=1.0,
                   optim="adamw_torch_fused", max_length=2048, packing=False, completion_only_loss=True, loss_type="nll",
                   gradient_checkpointing=False, bf16={dtype == 'bf16'}, use_cpu=True, save_strategy="no", report_to=[],
                   logging_steps=1, seed=0, disable_tqdm=True))
trainer.train()
print("RESULT" + json.dumps([[h["loss"], float(h["grad_norm"])] for h in trainer.state.log_history if "grad_norm" in h]))
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True).stdout
    return json.loads(next(line for line in out.splitlines() if line.startswith("RESULT"))[6:])


def steps_of(dtype, steps, batch):
    """Losses and gradient norms of fine-tuning, one optimizer step after the other."""
    config = work / f"{dtype}.yaml"
    config.write_text(json.dumps({
        "run_dir": str(work / f"run-{dtype}"), "model": {"from": str(pathlib.Path(a.model).resolve())},
        "prompt": {"prompt": "{prompt}\n", "completion": "{completion}"},
        "data": {"train": [{"path": str(work / "pairs.jsonl")}], "cache": str(work / "cache")},
        "batch": {"rows": batch, "shuffle": False, "micro_tokens": 4096},
        "train": {"lr": 1e-4, "steps": steps, "dtype": dtype, "log_every": 1},
        "optimizer": {"beta2": 0.999, "weight_decay": 0.0, "clip": 1.0},
        "schedule": {"kind": "constant", "warmup_steps": 0}, "checkpoint": {"every": 1000}}))
    continuo("train", config)
    records = map(json.loads, open(work / f"run-{dtype}/metrics.jsonl"))
    return [[r["loss"], r["grad_norm"]] for r in records if r["kind"] == "train"]


def training(batch, steps=8):
    write_rows("pairs.jsonl", pairs)
    for dtype, loss_bound, norm_bound in (("fp32", 2e-3, 0.01), ("bf16", 1e-2, 0.02)):
        # Without AVX-512 ours would compute in fp32, and TRL's steps in bfloat16 take a quarter of an hour.
        if dtype == "bf16" and "instruction set avx512" not in continuo("--version"):
            print("SFT bf16: not compared, this CPU has no AVX-512")
            continue
        ours, theirs = steps_of(dtype, steps, batch), trl_steps(dtype, steps, batch)
        loss = max(abs(x[0] - y[0]) for x, y in zip(ours, theirs, strict=True))
        norm = max(abs(x[1] / y[1] - 1) for x, y in zip(ours, theirs, strict=True))
        report(f"SFT {dtype}, {steps} steps of {batch} rows: loss, TRL", f"{loss:.2e}", f"{loss_bound:g}", loss <= loss_bound)
        report(f"SFT {dtype}: gradient norm, TRL, relative", f"{norm:.2%}", f"{norm_bound:.0%}", norm <= norm_bound)


families()
logits()
greedy()
training(a.batch)
sys.exit(not all(line[3] for line in lines))
