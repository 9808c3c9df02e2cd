#!/usr/bin/env bash
# Compares Continuo with transformers and TRL on the same weights and rows and prints one table; exits 1 when a line
# does not hold. About fifteen minutes on two cores.
#   scripts/parity.sh MODEL_DIR ROWS.jsonl [PROMPT_FIELD COMPLETION_FIELD]
#   BATCH=4 scripts/parity.sh checkpoints/gemma-3-270m ROWS.jsonl      rows of a training step; TRL keeps all their logits
# MODEL_DIR.gguf, where it lies beside the directory (scripts/get_model.sh keeps it), is compared too, with llama.cpp.
# Needs build/continuo and build/tests (./scripts/test.sh makes both). The Python packages go into .venv-peers, unless
# PEERS_PYTHON names an interpreter that has torch, transformers, trl, peft, datasets, safetensors and xllamacpp.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/peers/python.sh
[ $# -eq 2 ] || [ $# -eq 4 ] || { sed -n 2,9p "$0" >&2; exit 2; }
build=${CONTINUO_BUILD:-build}
[ -x "$build/continuo" ] || { echo "$build/continuo is missing: run ./scripts/test.sh first" >&2; exit 1; }

peers_python
model=${1%/}
gguf=()
[ ! -e "$model.gguf" ] || gguf=(--gguf "$model.gguf")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false \
  "$python" scripts/parity.py --build "$build" --work "$work" --model "$model" --data "$2" \
  "${gguf[@]}" --batch "${BATCH:-8}" \
  --prompt-field "${3:-prompt}" --completion-field "${4:-completion}"
