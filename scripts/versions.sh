# Sourced by scripts: the versions that the project pins. A newer LibTorch, from 2.11 on, is given by CMAKE_PREFIX_PATH;
# .ci/matrix holds the ends of that range.
TORCH_VERSION=${TORCH_VERSION:-2.13.0}
CLANG_FORMAT_VERSION=19.1.7
