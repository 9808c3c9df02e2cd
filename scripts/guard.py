"""The measurements of scripts/guard.sh and the rule by which a figure counts as worse.

Runs alternate: base, now, base, now, …, base. A run of this commit is held against the two runs of the base beside it,
so that a machine that grows slower meanwhile moves both. How far neighbouring runs of the base lie apart is the noise."""
import argparse
import dataclasses
import datetime
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

from compare import measure, number

RESTLESS = 0.2  # a noise above which nothing can be said
FLOOR = 0.03  # what repeated runs differ by on a quiet machine; a measured noise below it is luck


@dataclasses.dataclass
class Figure:
    name: str
    unit: str
    read: object           # the JSON lines of a run → the figure
    better: int = 1        # −1: a smaller figure is better; ratios are turned round: above 1 this commit is ahead


@dataclasses.dataclass
class Row:
    name: str
    run: object            # (binary, source directory or None, log, context) → the JSON lines of a run
    figures: list
    floor: float = FLOOR
    rounds: int = 0        # 0: as many as the command line says
    looks: int = 2         # how often all rounds are made at most


@dataclasses.dataclass
class Verdict:
    ratio: float
    noise: float
    word: str


def paired(base, now, better=1):
    """The ratios of n runs to the n + 1 runs of the base around them, and how far those of the base lie apart."""
    assert len(base) == len(now) + 1
    ratios = [(value / math.sqrt(before * after)) ** better for before, value, after in zip(base, now, base[1:])]
    return ratios, [max(a, b) / min(a, b) - 1 for a, b in zip(base, base[1:])]


def judge(ratios, noises, floor=FLOOR):
    """Worse: the median ratio lies below 1 by more than the floor and by more than chance makes of it. For normal noise
    four mean differences over √n are about three standard errors of the median of n ratios."""
    ratio, noise = statistics.median(ratios), 4 * statistics.mean(noises) / math.sqrt(len(noises))
    margin = 1 + max(floor, noise)
    if ratio * margin < 1:
        return Verdict(ratio, noise, "WORSE")
    return Verdict(ratio, noise, "restless" if noise > RESTLESS else "better" if ratio > margin else "same")


def decide(measured, floor=FLOOR, looks=2):
    """A verdict per figure of what `measured()` returns, (ratios, noises) each. When one seems worse, or the machine too
    restless to tell, the runs are made once more and all of them count: a table of many figures seldom accuses by
    chance."""
    pairs = measured()
    verdicts = [judge(*pair, floor) for pair in pairs]
    if looks > 1 and any(verdict.word in ("WORSE", "restless") for verdict in verdicts):
        pairs = [(a + c, b + d) for (a, b), (c, d) in zip(pairs, measured())]
        verdicts = [judge(*pair, floor) for pair in pairs]
    return verdicts


def figure_of(what, key, **settings):
    """Of the last line of that kind with those settings."""
    return lambda lines: next(line[key] for line in reversed(lines)
                              if what in (None, line["what"]) and settings.items() <= line.items())


def memory(name):
    return Figure(f"{name}: peak memory", "GB", figure_of(None, "peak_rss_gb"), better=-1)


def table(a):
    tokens, repeats, steps = (48, 2, 2) if a.quick else (128, 3, 4)
    shape = ["rows=2", "prompt_tokens=32", "completion_tokens=96"] if a.quick else ["rows=8"]

    def bench(*words):
        return lambda binary, source, log, context: measure(
            [*binary, "-q", "bench", *words, "--model", a.model, "roof=false"], log, **context)

    def generate(weights):
        prompt = 128 if a.quick else 512
        return Row(f"generate-{weights}",
                   bench("generate", f"dtype={'fp32' if weights == 'fp32' else 'bf16'}", f"weights={weights}",
                         "batches=[1,8]", f"new_tokens={tokens}", f"repeats={repeats}", f"prefill={prompt}"),
                   [Figure(f"prefill, {weights}", "tokens/s", figure_of("prefill", "tokens_per_s")),
                    *(Figure(f"decode, {weights}, {n}", "tokens/s", figure_of("decode", "decode_tokens_per_s", batch=n))
                      for n in (1, 8)),
                    memory(f"generate, {weights}")])

    def sft(dtype):
        return Row(f"sft-{dtype}", bench("train", f"dtype={dtype}", f"steps={steps}", "warmup=1", *shape),
                   [Figure(f"training step, {dtype}", "tokens/s", figure_of("train", "real_tokens_per_s")),
                    memory(f"training step, {dtype}")])

    # Without AVX-512 bf16 means fp32 when training, so that a quick look at it is enough.
    rows = [*map(generate, ("fp32", "bf16", "q8", "q4")), sft("bf16"),
            *([] if a.quick else [sft("fp32")]),
            Row("start", start, [Figure("start (--help)", "CPU s", figure_of("start", "cpu_s"), better=-1)])]
    if a.build:
        rows.append(Row("build", lambda *run: cold_build(a, *run),
                        [Figure("cold build", "CPU s", figure_of("build", "cpu_s"), better=-1)], floor=0.05, rounds=1,
                        looks=1))
    return rows


def used(words, **options):
    """CPU seconds (user and system) of a command and all that it started."""
    before = os.times()
    subprocess.run(list(map(str, words)), check=True, stdout=subprocess.DEVNULL, **options)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def start(binary, source, log, context, repeats=5):
    line = {"what": "start", "cpu_s": min(used([*binary, "--help"]) for _ in range(repeats))}
    log.write(json.dumps({**context, **line, "command": [*binary, "--help"]}) + "\n")
    return [line]


def cold_build(a, binary, source, log, context):
    """Builds the release preset of a source directory into an empty folder, without ccache."""
    directory = pathlib.Path(".cache/guard/cold").resolve()
    subprocess.run(["rm", "-rf", directory], check=True)
    options = {"cwd": source, "env": {**os.environ, "CCACHE_DISABLE": "1"}}
    used(["cmake", "--preset", "release", "-B", directory, f"-DCMAKE_PREFIX_PATH={a.torch}", "--log-level=WARNING"],
         **options)
    line = {"what": "build", "cpu_s": used(["cmake", "--build", directory, "--target", "continuo"], **options)}
    log.write(json.dumps({**context, **line, "source": str(source)}) + "\n")
    return [line]


def alternate(a, row, log, runs):
    """Runs base and now in turn, one more of the base, and adds their JSON lines to `runs`."""
    sides = {"base": ([a.base], a.base_source), "now": ([*a.prefix, a.now], ".")}
    made = {"base": [], "now": []}
    for turn in range(2 * (row.rounds or a.rounds) + 1):
        side = ("base", "now")[turn % 2]
        made[side].append(row.run(*sides[side], log, {"row": row.name, "side": side, "turn": turn}))
        log.flush()
    for side, lines in made.items():
        runs[side] += lines
    return [paired(*([figure.read(lines) for lines in made[side]] for side in ("base", "now")), figure.better)
            for figure in row.figures]


def report(a, row, log):
    """The row's verdicts, printed."""
    runs = {"base": [], "now": []}
    verdicts = decide(lambda: alternate(a, row, log, runs), row.floor, row.looks)
    for figure, verdict in zip(row.figures, verdicts):
        base, now = (number(statistics.median(map(figure.read, runs[side]))) for side in ("base", "now"))
        print(f"| {figure.name} | {base} {figure.unit} | {now} | {verdict.ratio:.3f} | {verdict.noise:.1%} | "
              f"{verdict.word} |", flush=True)
    return verdicts


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--base")
    a.add_argument("--now")
    a.add_argument("--model")
    a.add_argument("--torch")
    a.add_argument("--base-source")
    a.add_argument("--rounds", type=int)
    a.add_argument("--only", default="")
    for flag in ("quick", "build", "control", "list"):
        a.add_argument("--" + flag, action="store_true")
    a = a.parse_args()
    a.rounds = a.rounds or 5
    a.prefix = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if a.control else []
    rows = table(a)
    if a.list:
        print("\n".join(row.name for row in rows))
        return 0
    if a.build and not a.base_source:
        raise SystemExit("--build compares two builds: name a BASE_REF instead of a binary")
    names = [row.name for row in rows]
    wanted = a.only.split(",") if a.only else names
    if unknown := set(wanted) - set(names):
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}; --list shows them")
    logs = pathlib.Path("runs/guard")
    logs.mkdir(parents=True, exist_ok=True)
    began, now = time.monotonic(), datetime.datetime.now()
    verdicts = []
    print("| figure | base | now | ratio | noise | |\n|---|---|---|---|---|---|", flush=True)
    with open(logs / f"{now:%Y-%m-%d-%H%M%S}.jsonl", "w") as log:
        for row in rows:
            if row.name in wanted:
                verdicts += report(a, row, log)
    words = [v.word for v in verdicts]
    print(f"\nRatio: this commit to the base, above 1 it is ahead; median of {a.rounds} rounds in turn. "
          f"{words.count('WORSE')} of {len(words)} figures are worse by more than the noise and {FLOOR:.0%}; "
          f"{words.count('restless')} could not be judged. {time.monotonic() - began:.0f} s; measurements: {log.name}")
    if a.control:
        return "WORSE" not in words
    return 1 if "WORSE" in words else 2 if "restless" in words else 0


if __name__ == "__main__":
    sys.exit(main())
