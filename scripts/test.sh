#!/usr/bin/env bash
# Sets up, builds with the tests and runs them. Arguments go to ctest, which knows whole binaries, those that
# compute with the kernels once per instruction set:
#   scripts/test.sh -N                            their names: core, nn.avx2, train.portable …
#   scripts/test.sh -R '^nn'                      those whose names match
#   GTEST_FILTER='*MatmulTest.*' scripts/test.sh -R '^nn.avx2'      single tests of them
# or, once built: CONTINUO_ISA=avx2 build/tests/nn/nn_test --gtest_filter='*MatmulTest.*'
# How long each test took is printed at the end, again by scripts/test_times.py.
#
# Warnings are errors where CONTINUO_WERROR=ON: in .ci/run, not for a user whose compiler may be newer and warn of
# more. CONTINUO_CUDA=on compiles the kernels for GPUs without a LibTorch that could use them.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh --tests
cmake --preset ci --log-level=WARNING -DCONTINUO_WERROR="${CONTINUO_WERROR:-OFF}" \
  -DCONTINUO_CUDA="${CONTINUO_CUDA:-auto}" >/dev/null
cmake --build --preset ci
rm -rf build/test-times
code=0
ctest --preset ci -j "$(nproc)" "$@" || code=$?
[ ! -d build/test-times ] || python3 scripts/test_times.py
exit "$code"
