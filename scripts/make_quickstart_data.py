#!/usr/bin/env python3
"""Writes data/quickstart: the small prompt/completion set that the quickstart trains on.

The sentences are hand-written and live in data/quickstart/source/*.json; this script only combines
them. Its output is a pure function of the sources and SEED: the same bytes on every machine and
every Python from 3.9 on.

    make_quickstart_data.py            write train.jsonl, eval.jsonl and prompts.txt
    make_quickstart_data.py --check    compare them with what would be written; exit 1 if different
"""

import argparse
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

SEED = "continuo quickstart 1"
DATA_DIR = Path(__file__).resolve().parent.parent / "data" / "quickstart"

COPIES_PER_TAGLINE = 5  # each tagline is paired with this many different prompts
TRAIN_ROWS = {"paraphrase": 1600, "email": 760, "story": 760}
EVAL_ROWS = {"tagline": 120, "paraphrase": 75, "email": 60, "story": 60}
CASUAL_SHARE = 0.08  # prompts typed the lazy way: no final stop, sometimes no capital

PLACEHOLDER = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


class Dice:
    """Random choices built on random() alone, whose sequence Python guarantees across versions."""

    def __init__(self, name):
        self._random = random.Random(f"{SEED}/{name}").random

    def chance(self, probability):
        return self._random() < probability

    def pick(self, items):
        return items[int(self._random() * len(items))]

    def shuffled(self, items):
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = int(self._random() * (i + 1))
            items[i], items[j] = items[j], items[i]
        return items


def load(name):
    return json.loads((DATA_DIR / "source" / f"{name}.json").read_text(encoding="utf-8"))


def normalised(prompt):
    """What must differ between a training prompt and a held-out one: its words, not its dress."""
    return " ".join(re.findall(r"[a-z0-9'-]+", prompt.lower()))


def capitalised(text):
    return text[:1].upper() + text[1:]


def casual(prompt, dice):
    if not dice.chance(CASUAL_SHARE):
        return prompt
    prompt = prompt.rstrip(".?!")
    if dice.chance(0.5) and not prompt.startswith("I "):
        prompt = prompt[0].lower() + prompt[1:]
    return prompt


# Taglines: every tagline of a subject is paired with several phrasings of the request.


def with_name(phrasing, name):
    article = "an" if name[0] in "aeiou" else "a"
    return phrasing.replace("{a name}", f"{article} {name}").replace("{name}", name)


def requests(subject, source):
    """All (phrasing, name) pairs of a subject, less those that stutter ("a small small hotel")."""
    for kind, phrasings in source["phrasings"].items():
        for name in subject.get(kind, []):
            for phrasing in phrasings:
                if not (name.startswith("small") and "small" in phrasing):
                    yield phrasing, name


def tagline_rows(reserved):
    source = load("taglines")
    dice = Dice("tagline")
    held_out = {(p, name) for name, phrasings in source["held_out"].items() for p in phrasings}
    train, candidates = [], []
    for subject in source["subjects"]:
        pairs = dice.shuffled(requests(subject, source))
        withheld = [pair for pair in pairs if pair in held_out]
        withheld += [pair for pair in pairs if pair not in held_out][:2]
        for pair in withheld:
            tagline = dice.pick(subject["taglines"])
            candidates.append({"prompt": with_name(*pair), "completion": tagline})
        open_pairs = [pair for pair in pairs if pair not in withheld]
        turn = 0
        for _ in range(COPIES_PER_TAGLINE):
            for tagline in dice.shuffled(subject["taglines"]):
                prompt = casual(with_name(*open_pairs[turn % len(open_pairs)]), dice)
                train.append({"prompt": prompt, "completion": tagline})
                turn += 1
    candidates = [row for row in candidates if normalised(row["prompt"]) not in reserved]
    return train, dice.shuffled(candidates)[: EVAL_ROWS["tagline"]]


# The other tasks: frames with slots. A value is a string, or a record whose fields agree with
# one another ("she", "her"): {slot.field}. A capital first letter ({p.They}) capitalises the value.


def expand(values, lists):
    if isinstance(values, str):
        values = lists[values]
    if isinstance(values, dict):
        return [dict(zip(values["fields"], row)) for row in values["rows"]]
    return values


def fill(template, chosen):
    def value(match):
        slot, field = match.groups()
        found = chosen[slot if slot in chosen else slot.lower()]
        if field is not None:
            found = found[field if field in found else field.lower()]
        wants_capital = slot[0].isupper() or (field is not None and field[0].isupper())
        return capitalised(found) if wants_capital else found

    return PLACEHOLDER.sub(value, template)


def draw(frame, lists, dice):
    """One (body, completion) of a frame; two slots of the same list never get the same value."""
    chosen = {}
    for slot, values in frame["slots"].items():
        options = [v for v in expand(values, lists) if v not in chosen.values()]
        chosen[slot] = dice.pick(options)
    body = capitalised(fill(dice.pick(frame["prompt"]), chosen))
    parts = [capitalised(fill(dice.pick(choices), chosen)) for choices in frame["completion"]]
    return body, " ".join(parts)


def portion(total, number, count):
    """The size of part `number` when `total` is dealt out evenly to `count` parts."""
    return total * (number + 1) // count - total * number // count


def frame_rows(task, reserved):
    source = load(task)
    lists = {**load("lists"), **source.get("lists", {})}
    dice = Dice(task)
    frames = source["frames"]
    train, evaluation = [], []
    held_out_bodies = set(reserved)
    for number, frame in enumerate(frames):
        train_size = portion(TRAIN_ROWS[task], number, len(frames))
        for _ in range(portion(EVAL_ROWS[task], number, len(frames))):
            body, completion = draw(frame, lists, dice)
            while normalised(body) in held_out_bodies:
                body, completion = draw(frame, lists, dice)
            held_out_bodies.add(normalised(body))
            prompt = dice.pick(source["prefixes"]) + body
            evaluation.append({"prompt": prompt, "completion": completion})
        seen = set()
        attempts = 0
        while len(seen) < train_size:
            attempts += 1
            if attempts > 20000:
                sys.exit(f"{task}/{frame['name']}: too few combinations for {train_size} rows")
            body, completion = draw(frame, lists, dice)
            prompt = dice.pick(source["prefixes"]) + body
            if normalised(body) in held_out_bodies or (prompt, completion) in seen:
                continue
            seen.add((prompt, completion))
            train.append({"prompt": casual(prompt, dice), "completion": completion})
    return train, evaluation


def build():
    demo = load("demo")
    # A demo prompt is withheld whole and, for the prefixed tasks, under every prefix.
    reserved = {normalised(p) for p in demo} | {normalised(p.split(": ", 1)[-1]) for p in demo}
    train, evaluation = tagline_rows(reserved)
    for task in TRAIN_ROWS:
        more_train, more_evaluation = frame_rows(task, reserved)
        train += more_train
        evaluation += more_evaluation
    dice = Dice("order")
    unique = {(row["prompt"], row["completion"]): row for row in train}
    return dice.shuffled(unique.values()), dice.shuffled(evaluation), demo


def verify(train, evaluation, demo):
    """The promises of data/README.md; any failure is a fault in the sources."""

    def pairs(rows):
        return [(row["prompt"], row["completion"]) for row in rows]

    assert len(set(pairs(train))) == len(train), "duplicate training rows"
    assert len(set(pairs(evaluation))) == len(evaluation), "duplicate evaluation rows"
    trained = {normalised(row["prompt"]) for row in train}
    for prompt in [row["prompt"] for row in evaluation] + demo:
        assert normalised(prompt) not in trained, f"held-out prompt is trained: {prompt}"
    evaluated = {normalised(row["prompt"]) for row in evaluation}
    assert evaluated.isdisjoint(normalised(prompt) for prompt in demo), "a demo prompt is in eval"
    for row in train + evaluation:
        for text in row.values():
            assert text == " ".join(text.split()), f"stray blanks: {text!r}"
            assert not re.search(r"[{}]", text), f"unfilled slot: {text!r}"
            assert not re.search(r"\b[Aa] [aeio]", text), f"a for an: {text!r}"
            text.encode("utf-8")


def report(train, evaluation, demo):
    words = Counter()
    lengths = []
    for row in train:
        tokens = re.findall(r"[A-Za-z'-]+|\d|[^\w\s]", row["prompt"] + " " + row["completion"])
        words.update(t.lower() for t in tokens)
        lengths.append(len(tokens))
    lengths.sort()
    low, median, high, top = (lengths[int(q * (len(lengths) - 1))] for q in (0, 0.5, 0.95, 1))
    print(f"train {len(train)} rows, eval {len(evaluation)} rows, demo {len(demo)} prompts")
    print(f"words and marks per row: least {low}, median {median}, 95 % {high}, most {top}")
    print(f"words and marks in all: {sum(lengths)}, distinct: {len(words)}")


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    train, evaluation, demo = build()
    verify(train, evaluation, demo)
    files = {
        "train.jsonl": jsonl(train),
        "eval.jsonl": jsonl(evaluation),
        "prompts.txt": "".join(prompt + "\n" for prompt in demo),
    }
    stale = []
    for name, text in files.items():
        path = DATA_DIR / name
        content = text.encode("utf-8")
        if check:
            if not path.is_file() or path.read_bytes() != content:
                stale.append(name)
        else:
            path.write_bytes(content)
            print(f"{name}: {len(content)} bytes")
    report(train, evaluation, demo)
    if stale:
        sys.exit(f"out of date: {', '.join(stale)}; run scripts/make_quickstart_data.py")


if __name__ == "__main__":
    main()
