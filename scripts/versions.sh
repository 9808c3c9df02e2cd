# Sourced by scripts: the versions that the project pins. Another LibTorch, from the oldest on, is given by
# CMAKE_PREFIX_PATH; .ci/matrix holds the ends of that range.
TORCH_VERSION=2.13.0
TORCH_OLDEST=2.11
TORCH_ON_GPUS=2.11.0  # what scripts/gpu_check.sh packs for
CLANG_FORMAT_VERSION=19.1.7
LIZARD_VERSION=1.24.3
