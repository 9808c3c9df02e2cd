#!/usr/bin/env bash
# Compares this commit's binary with the previous release's on this machine, run by run in turn, and exits 1 when a
# figure got worse beyond the noise that runs of the previous release show among themselves: decoding in four formats,
# prefill, a training step, the peak memory of each, the time to start. Exits 2 when the machine was too restless to
# tell. Every measurement goes to runs/guard/*.jsonl.
#   scripts/guard.sh [BASE_REF]     a tag or commit, the newest tag without it; built once in .cache/guard
#     --base-binary PATH            compare with this binary instead
#     --binary PATH                 this commit's binary (build/continuo)
#     --model DIR                   a model directory (checkpoints/smollm2-135m-instruct, fetched when it is missing)
#     --quick                       short runs: five minutes on two slow cores, else half an hour
#     --rounds N, --only ROW,…      as in compare.sh; --list names the rows
#     --build                       also the CPU time of a cold build without ccache of both (long; needs BASE_REF)
#     --control                     negative control: this commit gets one core only; exits 0 when the guard sees it
# Leave the machine alone meanwhile. tests/scripts/guard_test.py tests the rule by which a figure counts as worse.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }

ref='' base='' now=build/continuo model=checkpoints/smollm2-135m-instruct rest=()
while [ $# -gt 0 ]; do
  case $1 in
    --base-binary) base=$2; shift ;;
    --binary) now=$2; shift ;;
    --model) model=$2; shift ;;
    --rounds | --only) rest+=("$1" "$2"); shift ;;
    --quick | --build | --control) rest+=("$1") ;;
    --list) exec python3 scripts/guard.py --list ;;
    -*) sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2 ;;
    *) ref=$1 ;;
  esac
  shift
done

[ -x "$now" ] || { say "$now is missing: cmake --preset release && cmake --build --preset release"; exit 2; }
# The LibTorch of this build serves the base as well: what is compared is our code.
torch=$(sed -n 's/^TORCH_ROOT:[A-Z]*=//p' "$(dirname "$now")/CMakeCache.txt" 2>/dev/null || true)
[ -n "$torch" ] || torch=$(ls -d "$PWD"/.venv/lib/python3*/site-packages/torch 2>/dev/null | head -1 || true)

if [ -z "$base" ]; then
  [ -n "$ref" ] || ref=$(git describe --tags --abbrev=0 2>/dev/null) ||
    { say "There is no tag to compare with: name a commit (scripts/guard.sh COMMIT)"; exit 2; }
  commit=$(git rev-parse --verify --quiet "$ref^{commit}") || { say "$ref is no commit of this repository"; exit 2; }
  source=.cache/guard/$commit
  base=$source/build/continuo
  if [ ! -x "$base" ]; then
    say "Building $ref in $source (once)"
    [ -d "$source" ] || git worktree add --quiet --detach "$source" "$commit"
    (cd "$source" && export CMAKE_PREFIX_PATH="$torch" && ./scripts/setup.sh &&
      cmake --preset release -DCMAKE_PREFIX_PATH="$torch" --log-level=WARNING >/dev/null &&
      cmake --build --preset release --target continuo >/dev/null)
  fi
  rest+=(--base-source "$source")
fi
[ -e "$model/config.json" ] || ./scripts/get_model.sh "$(basename "$model")"
exec python3 scripts/guard.py --base "$base" --now "$now" --model "$model" --torch "$torch" "${rest[@]}"
