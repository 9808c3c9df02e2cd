#!/usr/bin/env bash
# Installs what a build needs: Debian packages, and LibTorch in .venv (unless CMAKE_PREFIX_PATH names one).
# Safe to run again; quick and quiet when nothing is to do.
#   scripts/setup.sh [--tests]    also clang-format and lizard, for the tests `format` and `functions`, and what the
#                                 kernels' benchmark is compiled with
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/versions.sh

PACKAGES=(g++ cmake ninja-build ccache python3 python3-venv libyaml-cpp-dev libsentencepiece-dev
          nlohmann-json3-dev libcli11-dev libedit-dev libxxhash-dev libpcre2-dev
          libutf8proc-dev libgtest-dev)
say() { printf '%s\n' "$*" >&2; }

tests=
for option in "$@"; do
  case $option in
    --tests)
      tests=yes
      PACKAGES+=(libbenchmark-dev)
      ;;
    *) say "There is no option $option"; exit 2 ;;
  esac
done

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    say "Packages are missing and this user cannot install them. As root: $*"
    exit 1
  fi
}

install_packages() {
  local missing=() package
  for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "Installing Debian packages: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; }
torch_root() { ls -d .venv/lib/python3*/site-packages/torch 2>/dev/null | head -1; }
installed_version() { cat .venv/lib/python3*/site-packages/torch/version.py 2>/dev/null | sed -n "s/^__version__ = '\([0-9.]*\).*/\1/p"; }

# Only LibTorch's headers and libraries are used: without a GPU the wheel's Python dependencies are left out.
install_torch() {
  [ "$(installed_version)" = "$TORCH_VERSION" ] && return 0
  [ -x .venv/bin/pip ] || python3 -m venv .venv
  local pip=(.venv/bin/pip install --quiet --disable-pip-version-check)
  if has_gpu; then
    say "Installing LibTorch $TORCH_VERSION with CUDA (several GB)"
    "${pip[@]}" "torch==$TORCH_VERSION"
    return
  fi
  say "Installing LibTorch $TORCH_VERSION for the CPU (about 200 MB)"
  "${pip[@]}" --no-deps --timeout 8 --retries 0 --index-url https://download.pytorch.org/whl/cpu \
    "torch==$TORCH_VERSION" >/dev/null 2>&1 && return
  say "PyTorch's CPU index cannot be reached; taking the plain package"
  "${pip[@]}" --no-deps "torch==$TORCH_VERSION" 2> >(grep -v '^WARNING' >&2)
  if [ -e "$(torch_root)/lib/libtorch_cuda.so" ]; then
    say "The plain package is the CUDA build, which does not load without its CUDA libraries:" \
      "installing them too (4.7 GB on disk in all)"
    "${pip[@]}" "torch==$TORCH_VERSION"
  fi
}

# PACKAGE VERSION TEST: a tool whose verdicts differ from version to version, Debian's from release to release. The
# tree builds and every other test runs without it.
install_tool() {
  [ -e .venv/lib/python3*/site-packages/"${1//-/_}-$2.dist-info" ] && return 0
  [ -x .venv/bin/pip ] || python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --retries 1 "$1==$2" >/dev/null 2>&1 ||
    say "$1 $2 cannot be had now: the test \`$3\` will be skipped"
}

given_torch() {
  local prefix
  IFS=':;' read -ra prefixes <<<"${CMAKE_PREFIX_PATH:-}"
  for prefix in "${prefixes[@]:-}"; do
    [ -n "$prefix" ] || continue
    for root in "$prefix" "$prefix/.." "$prefix/../.." "$prefix/torch"; do
      [ -e "$root/include/ATen/ATen.h" ] && return 0
    done
  done
  return 1
}

install_packages
given_torch || install_torch
[ -n "$tests" ] || exit 0
install_tool clang-format "$CLANG_FORMAT_VERSION" format
install_tool lizard "$LIZARD_VERSION" functions
