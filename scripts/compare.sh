#!/usr/bin/env bash
# Measures Continuo and the systems that people use today on the same machine, weights and rows, turn by turn, and
# prints the ratios as a Markdown table; every single measurement goes to runs/compare/*.jsonl. All rows take about an
# hour on two cores; leave the machine alone meanwhile.
#   scripts/compare.sh MODEL_DIR ROWS.jsonl [--prompt-field F] [--completion-field F] [--only ROW,…] [--rounds N]
#                      [--steps N]
#   scripts/compare.sh --list        the rows that there are
# Needs build/continuo (./scripts/test.sh makes it). Peers: TRL, PEFT, transformers and llama.cpp; they go into
# .venv-peers (llama.cpp is compiled, ten minutes) unless PEERS_PYTHON names an interpreter that has them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/peers/python.sh
[ $# -gt 0 ] || { sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2; }
build=${CONTINUO_BUILD:-build}
[ -x "$build/continuo" ] || { echo "$build/continuo is missing: run ./scripts/test.sh first" >&2; exit 1; }
peers_python llama.cpp
exec env HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false TRANSFORMERS_VERBOSITY=error \
  "$python" scripts/compare.py --continuo "$build/continuo" "$@"
