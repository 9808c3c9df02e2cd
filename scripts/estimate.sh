# Sourced by quickstart.sh: how long its parts take on the machine at hand, told from how long they took on two cores of
# an AMD EPYC (Zen 3, AVX2) and from how fast this one parses C++.
BUILD_SECONDS=560         # CPU seconds of a cold build of `continuo` there
EVAL_SECONDS=41           # seconds of the other parts, with two threads
TRAIN_SECONDS=400
COMPLETION_SECONDS=10
REFERENCE_PROBE=1000      # milliseconds of measure_machine there

part() { printf '\n== %s %s\n' "$1" "${2:-}" >&2; }

# measure_machine: sets PROBE to the milliseconds that parsing a standard header takes. Needs g++.
measure_machine() {
  local begin
  begin=$(date +%s%N)
  g++ -std=c++20 -fsyntax-only -x c++ - <<<'#include <regex>'
  PROBE=$((($(date +%s%N) - begin) / 1000000))
}

# about SECONDS: in words.
about() {
  if [ "$1" -lt 90 ]; then
    echo "(about $((($1 + 9) / 10 * 10)) seconds)"
  else
    echo "(about $((($1 + 30) / 60)) minutes)"
  fi
}

# estimate SECONDS: of a part that took so long there, with two threads.
estimate() { about $(($1 * PROBE * 2 / REFERENCE_PROBE / $(nproc))); }

# estimate_build DIRECTORY TARGET: by the objects that are still missing there. (A dry run of ninja would not tell: it
# stops where CMake looks for new presets.)
estimate_build() {
  local all built
  all=$(ninja -C "$1" -t commands "$2" | grep -c ' -c ')
  built=$(find "$1" -name '*.o' | wc -l)
  if [ "$built" -ge "$all" ]; then
    echo "(only what has changed)"
  else
    estimate $((BUILD_SECONDS * (all - built) / all / 2))
  fi
}
