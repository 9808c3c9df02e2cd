#!/usr/bin/env bash
# The main job from nothing: set up, build, get a small instruction-tuned model, fine-tune it on the pairs in
# data/quickstart with the loss on completion tokens only, then show completions of prompts that were not trained on,
# before and after. Says before each part how long it will take on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/estimate.sh

part "Setting up" "(downloads about 200 MB the first time)"
./scripts/setup.sh

measure_machine
kernels=native  # those that this machine chooses; an instruction set that is asked for may be another
[ -z "${CONTINUO_ISA:-}" ] || kernels=all
cmake --preset release --log-level=WARNING -DCONTINUO_KERNELS=$kernels >/dev/null
part "Building" "$(estimate_build build continuo)"
cmake --build --preset release --target continuo

base=checkpoints/smollm2-135m-instruct
if [ ! -e "$base/config.json" ]; then
  part "Getting SmolLM2-135M-Instruct" "(downloads 93 MB)"
  ./scripts/get_model.sh smollm2-135m-instruct
fi

run=runs/quickstart
if [ -d "$run/checkpoints" ]; then
  part "Going on with $run" "(remove it to start anew)"
  build/continuo train configs/quickstart.yaml --resume
else
  part "Loss on held-out pairs before" "$(estimate "$EVAL_SECONDS")"
  begin=$SECONDS
  build/continuo eval "$base" --data data/quickstart/eval.jsonl prompt.chat=chatml  # as it is trained
  # The loss of one file tells how fast this machine is, better than compiling does.
  part "Fine-tuning" "$(about $(((SECONDS - begin) * TRAIN_SECONDS / EVAL_SECONDS)))"
  build/continuo train configs/quickstart.yaml
fi

part "Completions before and after, of prompts that were not trained on" "$(estimate "$COMPLETION_SECONDS")"
build/continuo generate "$run" --beside "$base" --file data/quickstart/prompts.txt
cat >&2 <<'END'

Next:
  build/continuo generate runs/quickstart                       # a session of your own
  build/continuo inspect configs/quickstart.yaml                # what was trained on, token by token
  build/continuo train configs/from_scratch.yaml                # a small model from random weights
END
