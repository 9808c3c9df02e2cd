# Sourced by parity.sh and compare.sh: `python` is an interpreter that has torch, transformers, trl, peft, datasets,
# safetensors and xllamacpp, with the argument `llama.cpp` also llama-cpp-python. PEERS_PYTHON names one; otherwise they
# go into .venv-peers (llama.cpp is compiled there, about ten minutes).
. scripts/versions.sh
peers_python() {
  python=${PEERS_PYTHON:-.venv-peers/bin/python}
  [ -n "${PEERS_PYTHON:-}" ] && return
  if [ ! -x "$python" ]; then
    echo "Installing transformers and TRL into .venv-peers" >&2
    python3 -m venv .venv-peers
    .venv-peers/bin/pip install --quiet "torch==$TORCH_VERSION" 'numpy>=2' transformers==5.23.0 trl==1.16.0 peft==0.21.2 \
      datasets safetensors xllamacpp
  fi
  if [ "${1:-}" = llama.cpp ] && ! "$python" -c 'import llama_cpp' 2>/dev/null; then
    echo "Compiling llama.cpp into .venv-peers" >&2
    .venv-peers/bin/pip install --quiet llama-cpp-python==0.3.36
  fi
}
