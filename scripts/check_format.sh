#!/usr/bin/env bash
# Holds every C++ and CUDA file to .clang-format with the pinned clang-format, which scripts/setup.sh --tests installs;
# exits 1 and names the files that differ, 77 where it is not there. `--fix` formats them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/versions.sh

formatter=.venv/bin/clang-format
if ! "$formatter" --version 2>/dev/null | grep -qwF "$CLANG_FORMAT_VERSION"; then
  echo "$formatter $CLANG_FORMAT_VERSION is missing: run scripts/setup.sh --tests" >&2
  exit 77
fi
files() { find src models tests third_party -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh'; }
if [ "${1:-}" = --fix ]; then
  files | xargs "$formatter" -i
  exit
fi
differ=$(files | xargs -P "$(nproc)" -n 40 "$formatter" --dry-run 2>&1 | sed -n 's/^\([^:]*\):.*-Wclang-format-violations.*/\1/p' | sort -u)
[ -n "$differ" ] || exit 0
echo "Not as .clang-format wants it (scripts/check_format.sh --fix mends it):" >&2
echo "$differ" >&2
exit 1
