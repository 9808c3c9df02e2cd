"""llama.cpp through its C API, no Python between tokens but the calls; one JSON line each.

    llamacpp.py generate FILE [--prefill N] [--batch B] [--new-tokens N] [--repeats N]    decoding is without sampling
    llamacpp.py perplexity FILE --tokens TOKENS.jsonl      of the trained tokens that `continuo eval --tokens` wrote
    llamacpp.py quantise FILE --to OUT --type F32|BF16|Q8_0|Q4_0|Q4_K_M      every matrix in that type; Q4_K_M: a mix
"""
import argparse
import ctypes
import json
import math
import os
import resource
import time

import llama_cpp as L
import numpy as np

a = argparse.ArgumentParser()
a.add_argument("what", choices=("generate", "perplexity", "quantise"))
a.add_argument("file")
for name, default in (("prefill", 0), ("batch", 0), ("new-tokens", 128), ("repeats", 3)):
    a.add_argument("--" + name, type=int, default=default)
for name in ("tokens", "to", "type"):
    a.add_argument("--" + name)
a = a.parse_args()
threads = os.cpu_count()
L.llama_backend_init()
quiet = L.llama_log_callback(lambda *_: None)
L.llama_log_set(quiet, None)


def report(**figures):
    print(json.dumps({"system": "llama.cpp", "version": L.__version__, "file": os.path.basename(a.file),
                      "threads": threads, **figures,
                      "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}))


def open_context(tokens, sequences, batch=512):
    context = L.llama_context_default_params()
    context.n_ctx, context.n_seq_max, context.n_batch, context.n_ubatch = tokens * sequences, sequences, batch, batch
    context.n_threads = context.n_threads_batch = threads
    return L.llama_init_from_model(model, context)


def decode(context, ids, positions, sequences, outputs):
    """One call on tokens `ids`; `outputs`: which of them give logits."""
    for i, (token, position, sequence, output) in enumerate(zip(ids, positions, sequences, outputs)):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, output
        batch.seq_id[i][0] = sequence
    batch.n_tokens = len(ids)
    assert L.llama_decode(context, batch) == 0
    L.llama_synchronize(context)


def generate():
    vocabulary = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
    prompt = [(i * 7919 + 13) % vocabulary for i in range(max(a.prefill, 16))]
    context = open_context(max(a.prefill, 16 + a.new_tokens), max(a.batch, 1))
    memory = L.llama_get_memory(context)

    def prefill(length, sequence=0):
        decode(context, prompt[:length], range(length), [sequence] * length, [0] * (length - 1) + [1])

    if a.prefill:
        def run():
            L.llama_memory_clear(memory, True)
            start = time.perf_counter()
            prefill(a.prefill)
            return time.perf_counter() - start
        run()
        report(what="prefill", prompt_tokens=a.prefill, tokens_per_s=a.prefill / min(run() for _ in range(a.repeats)))
    if a.batch:
        def run():
            L.llama_memory_clear(memory, True)
            for sequence in range(a.batch):
                prefill(16, sequence)
            start = time.perf_counter()
            for step in range(a.new_tokens - 1):
                decode(context, [1000 + step] * a.batch, [16 + step] * a.batch, range(a.batch), [1] * a.batch)
            return time.perf_counter() - start
        report(what="decode", batch=a.batch, new_tokens=a.new_tokens,
               decode_tokens_per_s=a.batch * (a.new_tokens - 1) / min(run() for _ in range(a.repeats)))


def perplexity():
    rows = [json.loads(line) for line in open(a.tokens)]
    longest = max(len(row["tokens"]) for row in rows)
    context = open_context(longest, 1, longest)
    vocabulary, nll, count = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model)), 0.0, 0
    for row in rows:
        L.llama_memory_clear(L.llama_get_memory(context), True)
        ids, trained = row["tokens"][:-1], set(row["trained"])
        decode(context, ids, range(len(ids)), [0] * len(ids), [i + 1 in trained for i in range(len(ids))])
        for i in trained:
            logits = np.ctypeslib.as_array(L.llama_get_logits_ith(context, i - 1), (vocabulary,)).astype(np.float64)
            high = logits.max()
            nll += high + math.log(np.exp(logits - high).sum()) - logits[row["tokens"][i]]
        count += len(trained)
    report(what="perplexity", tokens=count, perplexity=math.exp(nll / count))


def quantise():
    params = L.llama_model_quantize_default_params()
    types = {"F32": L.LLAMA_FTYPE_ALL_F32, "BF16": L.LLAMA_FTYPE_MOSTLY_BF16, "Q8_0": L.LLAMA_FTYPE_MOSTLY_Q8_0,
             "Q4_0": L.LLAMA_FTYPE_MOSTLY_Q4_0, "Q4_K_M": L.LLAMA_FTYPE_MOSTLY_Q4_K_M}
    params.ftype, params.nthread, params.allow_requantize = types[a.type], threads, True
    params.pure = a.type in ("Q8_0", "Q4_0")
    assert L.llama_model_quantize(a.file.encode(), a.to.encode(), ctypes.byref(params)) == 0


if a.what == "quantise":
    quantise()
else:
    model = L.llama_model_load_from_file(a.file.encode(), L.llama_model_default_params())
    batch = L.llama_batch_init(4096, 0, 1)
    {"generate": generate, "perplexity": perplexity}[a.what]()
