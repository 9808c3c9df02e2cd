#!/usr/bin/env bash
# Tests and measures on a GPU that is lent for minutes, on a machine that may have no network and no compiler.
#   scripts/gpu_check.sh pack [--torch DIR]
#       here, without a GPU: builds against a LibTorch with CUDA (DIR, its root; else TORCH_ON_GPUS of versions.sh, by
#       pip, several GB in .cache) in build-gpu, and packs binaries, the libraries that they need beside LibTorch, and
#       what tests read into build-gpu-pack, at most 64 MiB
#   build-gpu-pack/gpu_check.sh run [--only tests|figures] [--quick]
#       there: finds the LibTorch of the machine's python3 (or TORCH_ROOT), runs the tests on the GPU, with the kernels
#       that have passed on one and with all, then one measurement per shape, and prints one table; lines go to
#       gpu_check.jsonl in $OUT, or here. Five minutes. Exits 1 when a test fails.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }
usage() { sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2; }
tests=(nn models toys generate train)

# The root of a torch with CUDA.
cuda_torch() {
  . scripts/versions.sh
  local environment=.cache/gpu/torch-$TORCH_ON_GPUS
  if ! ls -d "$environment"/lib/python3*/site-packages/torch >/dev/null 2>&1; then
    say "Fetching torch $TORCH_ON_GPUS with CUDA (several GB)"
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check "torch==$TORCH_ON_GPUS" >&2
  fi
  ls -d "$PWD/$environment"/lib/python3*/site-packages/torch
}

# The CPU's kernels are the portable ones and the best that this machine has: all of them in six binaries are too large.
build() {
  ./scripts/setup.sh
  command -v nvcc >/dev/null || { say "nvcc is missing: install a CUDA 13 toolkit"; exit 1; }
  CMAKE_PREFIX_PATH=$1 cmake --preset ci -B build-gpu -DCMAKE_PREFIX_PATH="$1" -DCONTINUO_CUDA=on \
    -DCONTINUO_KERNELS=native --log-level=WARNING >/dev/null
  cmake --build build-gpu --target continuo "${tests[@]/%/_test}"
}

# The libraries of a binary that are neither LibTorch's nor every machine's.
own_libraries() {
  ldd "$1" | awk '$3 ~ /^\// && $3 !~ /torch|nvidia|cuda/ {print $3}' |
    grep -vE '/(libc|libm|libdl|librt|libutil|libpthread|libgcc_s|libstdc\+\+|libgomp)\.so'
}

pack() {
  cd "$(dirname "$0")/.."
  local torch='' pack=build-gpu-pack name
  [ "${1:-}" != --torch ] || torch=$2
  [ -n "$torch" ] || torch=$(cuda_torch)
  build "$torch"
  rm -rf "$pack"
  mkdir -p "$pack/bin" "$pack/lib" "$pack/source/tests"
  strip -o "$pack/bin/continuo" build-gpu/continuo
  for name in "${tests[@]}"; do strip -o "$pack/bin/${name}_test" "build-gpu/tests/$name/${name}_test"; done
  { own_libraries build-gpu/continuo; own_libraries build-gpu/tests/train/train_test; } | sort -u |
    xargs -r cp -L -t "$pack/lib"
  cp -r tests/golden "$pack/source/tests/"
  cp -r configs "$pack/source/"
  pwd >"$pack/built_in"
  git rev-parse HEAD >"$pack/commit"
  cp scripts/gpu_check.sh scripts/gpu_check.py scripts/peers/transformers_generate.py "$pack/"
  local size
  size=$(du -sm "$pack" | cut -f1)
  say "$pack: $size MiB"
  [ "$size" -le 64 ] || { say "More than 64 MiB"; exit 1; }
}

run() {
  cd "$(dirname "$0")"
  local torch=${TORCH_ROOT:-} built
  [ -n "$torch" ] || torch=$(python3 -c 'import torch; print(torch.__path__[0])')
  # Tests know their files by the path of the tree that they were built in.
  built=$(cat built_in)
  [ -e "$built/tests/golden" ] || { mkdir -p "$(dirname "$built")" && ln -sfn "$PWD/source" "$built"; }
  export LD_LIBRARY_PATH=$PWD/lib:$torch/lib:${LD_LIBRARY_PATH:-}
  exec python3 gpu_check.py "$@"
}

case ${1:-} in
  pack) pack "${@:2}" ;;
  run) run "${@:2}" ;;
  *) usage ;;
esac
