#!/usr/bin/env bash
# Sets up, builds with the tests and runs them. Arguments go to ctest (-R pattern …).
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
cmake --preset ci --log-level=WARNING >/dev/null
cmake --build --preset ci
ctest --preset ci -j "$(nproc)" "$@"
