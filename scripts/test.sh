#!/usr/bin/env bash
# Sets up, builds with the tests and runs them. Arguments go to ctest (-R pattern …). Warnings are errors where
# CONTINUO_WERROR=ON: in .ci/run, not for a user whose compiler may be newer and warn of more.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh --tests
cmake --preset ci --log-level=WARNING -DCONTINUO_WERROR="${CONTINUO_WERROR:-OFF}" >/dev/null
cmake --build --preset ci
ctest --preset ci -j "$(nproc)" "$@"
