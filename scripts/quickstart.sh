#!/usr/bin/env bash
# The main job from nothing: set up, build, get a small instruction-tuned model, fine-tune it on the pairs in
# data/quickstart with the loss on completion tokens only, then show completions of prompts that were not trained on,
# before and after.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '\n== %s\n' "$*" >&2; }

say "Setting up"
./scripts/setup.sh
say "Building (a few minutes the first time)"
cmake --preset release --log-level=WARNING >/dev/null
cmake --build --preset release --target continuo

base=checkpoints/smollm2-135m-instruct
say "Getting SmolLM2-135M-Instruct"
./scripts/get_model.sh smollm2-135m-instruct

run=runs/quickstart
if [ -d "$run/checkpoints" ]; then
  say "Going on with $run (remove it to start anew)"
  build/continuo train configs/quickstart.yaml --resume
else
  say "Loss on held-out pairs before"
  build/continuo eval "$base" --data data/quickstart/eval.jsonl
  say "Fine-tuning"
  build/continuo train configs/quickstart.yaml
fi

say "Completions before and after, of prompts that were not trained on"
build/continuo generate "$run" --beside "$base" --file data/quickstart/prompts.txt
cat >&2 <<'END'

Next:
  build/continuo generate runs/quickstart                       # a session of your own
  build/continuo inspect configs/quickstart.yaml                # what was trained on, token by token
  build/continuo train configs/from_scratch.yaml                # a small model from random weights
END
