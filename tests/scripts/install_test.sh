#!/usr/bin/env bash
# An installed tree runs wherever it is moved; with the libraries bundled it needs the LibTorch of the build no more.
#   install_test.sh BUILD_DIR SOURCE_DIR TORCH_ROOT
set -euo pipefail
build=$1 source=$2 torch=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*" >&2; exit 1; }
# Where the loader finds libtorch_cpu.so.
torch_of() { ldd "$1" | sed -n 's/.*libtorch_cpu.so => \(.*\) (.*/\1/p'; }

cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
program=$work/moved/bin/continuo
"$program" --version | grep -q '^LibTorch' || fail "the moved program does not run"
[ "$(torch_of "$program")" = "$torch/lib/libtorch_cpu.so" ] || fail "LibTorch is $(torch_of "$program")"
for file in configs/generation/greedy.yaml licences/LICENSE licences/NOTICES.txt; do
  [ -s "$work/moved/share/continuo/$file" ] || fail "share/continuo/$file is missing"
done
bash -n "$work/moved/share/bash-completion/completions/continuo"
grep -q '^#compdef continuo' "$work/moved/share/zsh/site-functions/_continuo" || fail "no completion for zsh"

cmake -D PROGRAM="$program" -D PREFIX="$work/moved" -D TORCH_ROOT="$torch" -P "$source/packaging/bundle.cmake" >/dev/null
mv "$work/moved" "$work/again"
program=$work/again/bin/continuo
"$program" --version >/dev/null
ldd "$program" | sed "s/ (0x.*//" | grep -v "=> $work/again/" | grep -qE 'torch|c10|gomp|sentencepiece|yaml|pcre|edit' &&
  fail "not bundled: $(ldd "$program")"
[ -s "$work/again/share/continuo/licences/libtorch.txt" ] || fail "LibTorch's licence is missing"
