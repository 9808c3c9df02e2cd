"""Prefill and decoding by Hugging Face transformers, sampled as `continuo bench generate` does; one JSON line each."""
import argparse
import json
import resource
import time

import torch
from transformers import AutoConfig, AutoModelForCausalLM

a = argparse.ArgumentParser()
a.add_argument("--model", help="directory; without it random weights of --shape")
a.add_argument("--shape", help="config.json's values of a Llama, as JSON")
a.add_argument("--device", default="cpu")
a.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
for name, default in (("prefill", 0), ("batch", 0), ("new-tokens", 128), ("repeats", 3)):
    a.add_argument("--" + name, type=int, default=default)
a = a.parse_args()
dtype = getattr(torch, a.dtype)
if a.model:
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=dtype).eval().to(a.device)
else:
    with torch.device(a.device):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **json.loads(a.shape)), dtype=dtype).eval()
# The ids that `continuo bench generate` feeds.
ids = torch.tensor([[(i * 7919 + 13) % model.config.vocab_size for i in range(max(a.prefill, 16))]], device=a.device)


def best(run):
    times = []
    for _ in range(a.repeats):
        start = time.perf_counter()
        run()
        if a.device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def report(**figures):
    print(json.dumps({"system": "transformers", "dtype": a.dtype, "torch": torch.__version__,
                      "threads": torch.get_num_threads(), **figures,
                      "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}))


with torch.inference_mode():
    if a.prefill:
        model(ids, logits_to_keep=1)
        report(what="prefill", prompt_tokens=a.prefill,
               tokens_per_s=a.prefill / best(lambda: model(ids, logits_to_keep=1)))
    if a.batch:
        prompt = ids[:, :16].repeat(a.batch, 1)
        run = lambda: model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=a.new_tokens,
                                     min_new_tokens=a.new_tokens, do_sample=True, top_k=50, top_p=0.9)
        report(what="decode", batch=a.batch, new_tokens=a.new_tokens, tokens_per_s=a.batch * a.new_tokens / best(run))
