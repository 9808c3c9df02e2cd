#!/usr/bin/env bash
# The main job from nothing: set up, build, train a tokenizer and a small model on the pairs in data/quickstart with the
# loss on completion tokens only, then complete prompts that were not trained on.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '\n== %s\n' "$*" >&2; }

say "Setting up"
./scripts/setup.sh
say "Building (a few minutes the first time)"
cmake --preset release --log-level=WARNING >/dev/null
cmake --build --preset release --target continuo

run=runs/quickstart
if [ -d "$run/checkpoints" ]; then
  say "Going on with $run (remove it to start anew)"
  build/continuo train configs/quickstart.yaml --resume
else
  say "Training"
  build/continuo train configs/quickstart.yaml
fi

say "Completions of prompts that were not trained on"
build/continuo generate "$run" --file data/quickstart/prompts.txt
cat >&2 <<'END'

Next:
  build/continuo generate runs/quickstart                       # a session of your own
  build/continuo inspect configs/quickstart.yaml                # what was trained on, token by token
  build/continuo eval runs/quickstart --data data/quickstart/eval.jsonl
END
