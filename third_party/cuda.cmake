# nvcc, for the kernels of our own for GPUs. They see nothing of LibTorch: nvcc compiles them without it as well, but
# they are linked only where LibTorch has CUDA. Languages are enabled in the directory above all that use them, so the
# top includes this.
set(CONTINUO_NVCC OFF)
if(CONTINUO_CUDA STREQUAL "off" OR CONTINUO_CUDA STREQUAL "auto" AND NOT CONTINUO_TORCH_HAS_CUDA)
  return()
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  enable_language(CUDA)
  set(CONTINUO_NVCC ON)
elseif(CONTINUO_CUDA STREQUAL "on")
  message(FATAL_ERROR "CONTINUO_CUDA is on, but there is no nvcc: install a CUDA toolkit, or set CUDACXX.")
else()
  message(STATUS "No nvcc: without kernels of our own for GPUs")
  return()
endif()

# What their code calls at run time: the copy that LibTorch loads, so that there is one.
if(CONTINUO_TORCH_HAS_CUDA)
  find_library(CUDART_LIB NAMES cudart libcudart.so.13 libcudart.so.12 NAMES_PER_DIR REQUIRED
               HINTS ${TORCH_ROOT}/../nvidia/cu13/lib ${TORCH_ROOT}/../nvidia/cuda_runtime/lib
                     ${CMAKE_CUDA_TOOLKIT_ROOT_DIR}/lib64 /usr/local/cuda/lib64)
  add_library(cudart_imported INTERFACE)
  target_link_libraries(cudart_imported INTERFACE ${CUDART_LIB})
  # LibTorch's headers of streams and graphs ask for those of all of CUDA's libraries; the wheels beside it have them.
  find_path(CUDA_LIBRARY_HEADERS cusparse.h HINTS ${TORCH_ROOT}/../nvidia/cu13/include
            ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  find_path(NCCL_HEADERS nccl.h HINTS ${TORCH_ROOT}/../nvidia/nccl/include)
  if(CUDA_LIBRARY_HEADERS)
    target_include_directories(cudart_imported SYSTEM INTERFACE ${CUDA_LIBRARY_HEADERS}
                                                                ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
    target_compile_definitions(cudart_imported INTERFACE CONTINUO_CUDA_GRAPHS)
  endif()
  if(CUDA_LIBRARY_HEADERS AND NCCL_HEADERS)
    target_include_directories(c10d_imported SYSTEM INTERFACE ${NCCL_HEADERS})
    target_compile_definitions(c10d_imported INTERFACE USE_C10D_NCCL)
    target_link_libraries(c10d_imported INTERFACE cudart_imported)
  endif()
endif()
