"""The measurements of scripts/compare.sh. A row of the table is one entry of `table()`: what Continuo runs, what each
peer runs, which figure of their JSON lines is compared and what ratio is wanted. Every run is a process of its own."""
import argparse
import dataclasses
import datetime
import json
import pathlib
import statistics
import subprocess
import sys

PEERS = pathlib.Path(__file__).parent / "peers"


@dataclasses.dataclass
class Peer:
    name: str
    command: list
    figure: str  # of its JSON line and of Continuo's


@dataclasses.dataclass
class Row:
    name: str
    title: str
    command: list
    peers: list
    target: str
    unit: str = "tokens/s"
    better: int = 1        # −1: a smaller figure is better; ratios are turned round so that above 1 Continuo is ahead
    memory: bool = False   # compare peak memory too


def table(a, files):
    """Every row. `files`: makers of the files that several rows share, called when a row runs."""
    def ours(*words):
        return [a.continuo, "-q", *words]

    def generate(dtype, *words):
        return ours("bench", "generate", "--model", a.model, f"dtype={dtype}", "roof=false", *words)

    def transformers(dtype, *words):
        return Peer("transformers", [PEERS / "transformers_generate.py", "--model", a.model, "--dtype", dtype, *words],
                    "tokens_per_s")

    def llamacpp(kind, what, figure, *words):
        return Peer(f"llama.cpp {kind}", [PEERS / "llamacpp.py", what, lambda: files.gguf(kind), *words], figure)

    def templates(section=""):
        return [f'{section}prompt="{{{a.prompt_field}}}\\n"', f'{section}completion="{{{a.completion_field}}}"']

    peer_fields = ["--prompt-field", a.prompt_field, "--completion-field", a.completion_field]

    def sft(name, title, target, dtype, rows=8, accumulate=1, lora=0, long=False, steps=a.steps):
        data, steps = files.long_rows if long else a.data, max(1, steps)
        command = ours("bench", "train", "--model", a.model, ("data=", data), f"dtype={dtype}", f"rows={rows}",
                       f"micro_tokens={2048 if accumulate > 1 else 8192}", f"steps={steps}", "warmup=1",
                       "context=2048", f"cache={a.work / 'cache'}", f"lora.rank={lora}",
                       *(['prompt="{prompt}\\n"'] if long else templates()))
        peer = [PEERS / "trl_sft.py", "--model", a.model, "--data", data, "--dtype", dtype, "--rows", rows, "--steps",
                steps, "--accumulate", accumulate, "--lora", lora, *([] if long else peer_fields)]
        return Row(name, title, command, [Peer("TRL + PEFT" if lora else "TRL", peer, "real_tokens_per_s")], target,
                   memory=True)

    def decode(name, title, target, weights, kind, *more):
        return Row(name, title, generate("fp32" if weights == "fp32" else "bf16", f"weights={weights}", "batches=[1]",
                                         "prefill=16"),
                   [llamacpp(kind, "generate", "decode_tokens_per_s", "--batch", 1), *more], target)

    def parallel(batch):
        return Row(f"decode-batch-{batch}", f"decode, {batch} sequences, bf16",
                   generate("bf16", f"batches=[{batch}]", "prefill=16", "repeats=2"),
                   [llamacpp("BF16", "generate", "decode_tokens_per_s", "--batch", batch, "--repeats", 2),
                    transformers("bfloat16", "--batch", batch, "--repeats", 1)], "≥ 1 llama.cpp, ≥ 4 transformers")

    def perplexity(weights, kind):
        return Row(f"perplexity-{weights}", f"perplexity of 200 rows, {weights}",
                   ours("eval", a.model, "--data", files.some_rows, "--json", f"weights={weights}",
                        f"data.cache={a.work / 'cache'}", *templates("prompt.")),
                   [llamacpp(kind, "perplexity", "perplexity", "--tokens", files.tokens)], "≥ 1", unit="perplexity",
                   better=-1)

    def perplexity_of_files():
        return Row("perplexity-files", "perplexity of 200 rows, 4-bit files of weights that lie on no grid",
                   ours("eval", files.calibrated, "--data", files.some_rows, "--json",
                        f"data.cache={a.work / 'cache'}", *templates("prompt.")),
                   [Peer("llama.cpp Q4_K_M", [PEERS / "llamacpp.py", "perplexity",
                                              lambda: files.scrambled_gguf("Q4_K_M"), "--tokens", files.tokens],
                         "perplexity")], "≥ 1", unit="perplexity", better=-1)

    # A step with as few weights to read as any, and a chain in which every kind of stage has work to do.
    def sampling(name, title, *model):
        chain = ("[{repetition: 1.1}, {frequency: 0.1}, {presence: 0.1}, dry, {top_n_sigma: 2}, {top_k: 50}, "
                 "{typical: 0.95}, {top_p: 0.9}, {min_p: 0.02}, {xtc: 0.5}, {temperature: 0.8}]")
        return Row(name, f"share of an 11-stage sampling chain in a step of 4-bit decoding, {title}",
                   ours("bench", "generate", *model, "dtype=bf16", "weights=q4", "batches=[1]", "prefill=16",
                        "roof=false", f"sampler={chain}"), [], "≤ 0.05", unit="sampling_share")

    def tokenized_start():
        trl = [PEERS / "trl_sft.py", "--model", a.model, "--data", files.many_rows, "--steps", 0, *peer_fields]
        return Row("tokenized-start", "100,000 rows ready to train on, new and known",
                   ours("bench", "data", a.model, ("data=", files.many_rows), *templates()),
                   [Peer("TRL, new", trl, "cold_seconds"), Peer("TRL, known", trl, "cached_seconds")],
                   "≥ 3 new, < 1 s known", unit="s", better=-1)

    return [
        sft("sft-fp32", "SFT, 8 rows a step, fp32", "≥ 2.4", "fp32"),
        sft("sft-bf16", "SFT, 8 rows a step, bf16", "≥ 3.5", "bf16"),
        sft("sft-32-rows", "SFT, 32 rows in 4 parts, bf16", "≥ 2.5", "bf16", rows=32, accumulate=4,
            steps=a.steps // 4),
        sft("sft-2048", "SFT, rows of 2,048 tokens, 2 in 2 parts, bf16", "≥ 2.5", "bf16", rows=2, accumulate=2,
            long=True, steps=a.steps // 2),
        sft("lora", "LoRA of rank 16, 8 rows a step, bf16", "≥ 2.5", "bf16", lora=16),
        Row("prefill", "prefill of 512 tokens, bf16", generate("bf16", "batches=[]", "prefill=512"),
            [transformers("bfloat16", "--prefill", 512),
             llamacpp("BF16", "generate", "tokens_per_s", "--prefill", 512)],
            "≥ 1.5"),
        decode("decode-fp32", "decode, 1 sequence, fp32", "≥ 1.25 llama.cpp, ≥ 4 transformers", "fp32", "F32",
               transformers("float32", "--batch", 1, "--repeats", 2)),
        decode("decode-bf16", "decode, 1 sequence, bf16", "≥ 1.6 llama.cpp, ≥ 4 transformers", "bf16", "BF16",
               transformers("bfloat16", "--batch", 1, "--repeats", 2)),
        decode("decode-q8", "decode, 1 sequence, 8-bit", "≥ 1.9", "q8", "Q8_0"),
        decode("decode-q4", "decode, 1 sequence, 4-bit", "≥ 1.6", "q4", "Q4_0"),
        parallel(8),
        parallel(32),
        perplexity("q8", "Q8_0"),
        perplexity("q4", "Q4_0"),
        perplexity_of_files(),
        sampling("sampling", "49,152 logits", "--model", a.model),
        sampling("sampling-256000", "256,000 logits (random weights)", "vocabulary=256000"),
        tokenized_start(),
    ]


class Files:
    """What the rows need, made once in the work directory."""

    def __init__(self, a):
        self.a = a

    def made(self, name, write):
        path = self.a.work / name
        if not path.exists():
            temporary = path.with_suffix(".partial")
            write(temporary)
            temporary.rename(path)
        return path

    def gguf(self, kind):
        if kind == "F32":
            return self.made("F32.gguf", lambda path: run_quietly(
                [self.a.continuo, "-q", "convert", self.a.model, "--to", "gguf", "--type", "f32", "--out", path]))
        return self.made(f"{kind}.gguf", lambda path: run_quietly(
            [sys.executable, PEERS / "llamacpp.py", "quantise", self.gguf("F32"), "--to", path, "--type", kind]))

    def scrambled(self):
        """The model out of weights that lie on no grid."""
        return self.made("scrambled", lambda path: run_quietly(
            [sys.executable, PEERS / "scramble.py", self.a.model, "--to", path]))

    def scrambled_gguf(self, kind):
        if kind == "F32":
            return self.made("scrambled-F32.gguf", lambda path: run_quietly(
                [self.a.continuo, "-q", "convert", self.scrambled(), "--to", "gguf", "--type", "f32", "--out", path]))
        return self.made(f"scrambled-{kind}.gguf", lambda path: run_quietly(
            [sys.executable, PEERS / "llamacpp.py", "quantise", self.scrambled_gguf("F32"), "--to", path, "--type",
             kind]))

    def calibrated(self):
        """Blocks of 4 bits chosen by rows that are not measured."""
        def rows(path):
            self.write_rows(path, self.records()[1000:1300])

        return self.made("calibrated-Q4_1_M.gguf", lambda path: run_quietly(
            [self.a.continuo, "-q", "convert", self.scrambled(), "--to", "gguf", "--type", "q4_1_m", "--out", path,
             "--calibrate", self.made("300-other-rows.jsonl", rows), *self.templates(),
             f"data.cache={self.a.work / 'cache'}"]))

    def templates(self):
        return [f'prompt.prompt="{{{self.a.prompt_field}}}\\n"', f'prompt.completion="{{{self.a.completion_field}}}"']

    def records(self):
        return [json.loads(line) for line in open(self.a.data)]

    def write_rows(self, path, rows):
        with open(path, "w") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)

    def some_rows(self):
        return self.made("200-rows.jsonl", lambda path: self.write_rows(path, self.records()[:200]))

    def many_rows(self):
        """100,000 different rows: those of the data again and again, numbered."""
        def write(path):
            records, field = self.records(), self.a.prompt_field
            self.write_rows(path, ({**records[i % len(records)], field: f"({i}) {records[i % len(records)][field]}"}
                                   for i in range(100_000)))
        return self.made("100000-rows.jsonl", write)

    def long_rows(self):
        """Rows of 2,048 tokens: one prompt, then as many texts as fit."""
        def write(path):
            from transformers import AutoTokenizer
            tokenizer = AutoTokenizer.from_pretrained(self.a.model)
            texts = [(row[self.a.prompt_field], row[self.a.completion_field]) for row in self.records()]
            rows, at = [], 0
            while len(rows) < 64:
                prompt, text = texts[at % len(texts)]
                room = 2047 - len(tokenizer(prompt + "\n")["input_ids"])
                while len(ids := tokenizer(text)["input_ids"]) <= room:
                    at += 1
                    text += "\n\n" + "\n".join(texts[at % len(texts)])
                rows.append({"prompt": prompt, "completion": tokenizer.decode(ids[:room])})
                at += 1
            self.write_rows(path, rows)
        return self.made("long-rows.jsonl", write)

    def tokens(self):
        return self.made("tokens.jsonl", lambda path: run_quietly(
            [self.a.continuo, "-q", "eval", self.a.model, "--data", self.some_rows(), "--tokens", path,
             *self.templates(), f"data.cache={self.a.work / 'cache'}"]))


def resolved(word):
    """A word of a command: makers of files are called, the parts of a tuple joined."""
    if isinstance(word, tuple):
        return "".join(map(resolved, word))
    return str(word() if callable(word) else word)


def run_quietly(words):
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stderr[-2000:]}")
    return done.stdout


def measure(words, log, **context):
    """Runs a command; the JSON lines that it printed."""
    words = [resolved(word) for word in words]
    # TRL prints Python dictionaries between them.
    lines = [json.loads(line) for line in run_quietly(words).splitlines() if line.startswith('{"')]
    log.write("".join(json.dumps({**context, **line, "command": words}) + "\n" for line in lines))
    log.flush()
    return lines


def figures(measured, figure, key=None):
    """Of every round the last line that has `figure`: that figure, or `key` of the same line."""
    return [next(line for line in reversed(lines) if figure in line)[key or figure] for lines in measured]


def number(x):
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.3f}"


def spread(values):
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))}–{number(max(values))})"


def compare(row, rounds, log):
    """The row's lines of the table, one a peer; its measurements taken turn by turn."""
    commands = {id(peer.command): [sys.executable, *peer.command] for peer in row.peers}  # of two peers may be one
    mine, theirs = [], {key: [] for key in commands}
    for turn in range(rounds):
        mine.append(measure(row.command, log, row=row.name, round=turn))
        for key, command in commands.items():
            theirs[key].append(measure(command, log, row=row.name, round=turn))
    if not row.peers:
        yield [row.title, spread(figures(mine, row.unit)), "", "", "", row.target, ""]
    for peer in row.peers:
        ours, peers = figures(mine, peer.figure), figures(theirs[id(peer.command)], peer.figure)
        pairs = [(x / y) ** row.better for x, y in zip(ours, peers)]
        ratio = (statistics.median(ours) / statistics.median(peers)) ** row.better
        memory = ""
        if row.memory:
            gb = [statistics.median(figures(lines, peer.figure, "peak_rss_gb"))
                  for lines in (mine, theirs[id(peer.command)])]
            memory = f"{gb[0]:.1f} / {gb[1]:.1f} GB = {gb[0] / gb[1]:.2f}"
        yield [row.title, f"{spread(ours)} {row.unit}", f"{peer.name} {spread(peers)}", f"{ratio:.2f}",
               spread(pairs) if rounds > 1 else "", row.target, memory]


def main():
    a = argparse.ArgumentParser()
    a.add_argument("model", nargs="?")
    a.add_argument("data", nargs="?")
    a.add_argument("--continuo", required=True)
    a.add_argument("--prompt-field", default="prompt")
    a.add_argument("--completion-field", default="completion")
    a.add_argument("--only", default="", help="names of rows, with commas between; all without it")
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--steps", type=int, default=8, help="measured steps of 8 rows; larger steps are fewer")
    a.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/compare"))
    a.add_argument("--list", action="store_true")
    a = a.parse_args()
    rows = table(a, Files(a))
    if a.list:
        print("\n".join(f"{row.name:18} {row.title}" for row in rows))
        return
    if not a.model or not a.data:
        raise SystemExit("compare.sh MODEL_DIR ROWS.jsonl: both are needed")
    wanted = a.only.split(",") if a.only else [row.name for row in rows]
    if unknown := set(wanted) - {row.name for row in rows}:
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}; --list shows them")
    a.work.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now()
    print("| work | Continuo | peer | ratio | paired | target | memory |\n|---|---|---|---|---|---|---|", flush=True)
    with open(a.work / f"{now:%Y-%m-%d-%H%M%S}.jsonl", "w") as log:
        for row in rows:
            if row.name in wanted:
                for line in compare(row, a.rounds, log):
                    print("| " + " | ".join(line) + " |", flush=True)
    print(f"\nMedian (lowest–highest) of {a.rounds} rounds, Continuo and peers in turn; {now:%d %B %Y}. "
          f"Measurements: {log.name}")


if __name__ == "__main__":
    main()
