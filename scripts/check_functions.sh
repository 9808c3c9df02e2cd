#!/usr/bin/env bash
# Holds every function of src and models to sixty lines and six parameters with the pinned lizard, which
# scripts/setup.sh --tests installs; exits 1 and names those that are longer or take more, 77 where it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/versions.sh

lizard=.venv/bin/lizard
if [ "$("$lizard" --version 2>/dev/null)" != "$LIZARD_VERSION" ]; then
  echo "$lizard $LIZARD_VERSION is missing: run scripts/setup.sh --tests" >&2
  exit 77
fi
# Branches are not counted (-C), and lizard fails for faults of its own alone (-i).
breaches=$("$lizard" src models -l cpp -t "$(nproc)" -L 60 -a 6 -C 100000 -i -1 -w |
  sed 's/: warning: \(.*\) has .* \([0-9]*\) PARAM, \([0-9]*\) length.*/: \1: \3 lines, \2 parameters/')
[ -n "$breaches" ] || exit 0
echo "More than 60 lines or 6 parameters:" >&2
echo "$breaches" >&2
exit 1
