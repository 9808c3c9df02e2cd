"""Fine-tuning with TRL's SFTTrainer (and PEFT): tokens per second, peak memory and losses of the steps, as a JSON line.

Rows in their order, constant learning rate, AdamW without decay, loss on completions only, bf16 as autocast over
float32 weights: what `continuo bench train` does. With --steps 0 only the preparation of the rows is measured, new and
cached.
"""
import argparse
import json
import os
import resource
import tempfile
import time

a = argparse.ArgumentParser()
for name in ("model", "data"):
    a.add_argument("--" + name, required=True)
for name in ("prompt", "completion"):
    a.add_argument(f"--{name}-field", default=name)
a.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
for name, default in (("steps", 4), ("warmup", 1), ("rows", 8), ("accumulate", 1), ("lora", 0)):
    a.add_argument("--" + name, type=int, default=default)
a.add_argument("--lr", type=float, default=1e-5)
a = a.parse_args()
scratch = tempfile.TemporaryDirectory()
os.environ["HF_DATASETS_CACHE"] = scratch.name

import datasets
import torch
from peft import LoraConfig
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class Clock(TrainerCallback):
    def __init__(self):
        self.seconds = []

    def on_step_begin(self, *_, **__):
        self.start = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.seconds.append(time.perf_counter() - self.start)


class InOrder(SFTTrainer):
    def _get_train_sampler(self, *_, **__):
        return SequentialSampler(self.train_dataset)


def prepare(model, tokenizer, clock):
    rows = datasets.load_dataset("json", data_files=a.data, split="train")
    if a.steps:
        rows = rows.select(range(min(len(rows), a.rows * (a.steps + a.warmup))))
    prompt, completion = a.prompt_field, a.completion_field
    rows = rows.map(lambda row: {"prompt": row[prompt] + "\n", "completion": row[completion]},
                    remove_columns=rows.column_names)
    adapters = LoraConfig(r=a.lora, lora_alpha=2 * a.lora, target_modules="all-linear", task_type="CAUSAL_LM")
    return InOrder(
        model=model, train_dataset=rows, processing_class=tokenizer, callbacks=[clock],
        peft_config=adapters if a.lora else None,
        args=SFTConfig(
            output_dir=scratch.name, max_steps=a.steps + a.warmup, per_device_train_batch_size=a.rows // a.accumulate,
            gradient_accumulation_steps=a.accumulate, learning_rate=a.lr, lr_scheduler_type="constant",
            weight_decay=0.0, max_grad_norm=1.0, optim="adamw_torch_fused", max_length=2048, packing=False,
            completion_only_loss=True, loss_type="nll", gradient_checkpointing=False, bf16=a.dtype == "bf16",
            use_cpu=True, save_strategy="no", report_to=[], logging_steps=1, seed=0, disable_tqdm=True,
            dataset_num_proc=os.cpu_count() if a.steps == 0 else None))


tokenizer = AutoTokenizer.from_pretrained(a.model)
model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32, attn_implementation="sdpa")
clock, preparing = Clock(), []
for _ in range(1 if a.steps else 2):
    start = time.perf_counter()
    trainer = prepare(model, tokenizer, clock)
    preparing.append(time.perf_counter() - start)
line = {"system": "trl", "what": "train" if a.steps else "data", "dtype": a.dtype, "rows": a.rows,
        "torch": torch.__version__, "threads": torch.get_num_threads()}
if a.steps:
    trainer.train()
    lengths = [len(row["input_ids"]) for row in trainer.train_dataset]
    tokens = [sum(lengths[i * a.rows:(i + 1) * a.rows]) for i in range(a.steps + a.warmup)]
    history = [h for h in trainer.state.log_history if "grad_norm" in h]
    line |= {"real_tokens_per_s": sum(tokens[a.warmup:]) / sum(clock.seconds[a.warmup:]), "step_seconds": clock.seconds,
             "accumulate": a.accumulate, "lora_rank": a.lora, "loss": [h["loss"] for h in history],
             "grad_norm": [float(h["grad_norm"]) for h in history]}
else:
    line |= {"cold_seconds": preparing[0], "cached_seconds": preparing[1], "rows": len(trainer.train_dataset)}
print(json.dumps(line | {"peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}))
