# Makes an installed tree independent of the machine that built it: copies the shared libraries of PROGRAM, all but those
# of the C and C++ runtime, into PREFIX/lib/continuo, where the program looks first, and their licences beside ours.
#   cmake -D PROGRAM=build/continuo -D PREFIX=tree -D TORCH_ROOT=… -P bundle.cmake
file(GET_RUNTIME_DEPENDENCIES
  EXECUTABLES ${PROGRAM}
  RESOLVED_DEPENDENCIES_VAR libraries
  UNRESOLVED_DEPENDENCIES_VAR missing
  POST_EXCLUDE_REGEXES "/(ld-linux[^/]*|libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\\+\\+)\\.so[^/]*$")
if(missing)
  message(FATAL_ERROR "These libraries of ${PROGRAM} were not found: ${missing}")
endif()

set(licences ${PREFIX}/share/continuo/licences)
file(GLOB torch_licences ${TORCH_ROOT}/../torch-*.dist-info/licenses/LICENSE ${TORCH_ROOT}/LICENSE)
foreach(licence ${torch_licences})
  file(COPY_FILE ${licence} ${licences}/libtorch.txt)
endforeach()
foreach(library ${libraries})
  file(INSTALL ${library} DESTINATION ${PREFIX}/lib/continuo FOLLOW_SYMLINK_CHAIN)
  if(library MATCHES "^${TORCH_ROOT}/")
    continue()
  endif()
  # Debian says under which licence a package's library is.
  # It knows /lib, a link to /usr/lib, by the one name or the other.
  file(REAL_PATH ${library} path)
  string(REGEX REPLACE "^/usr" "" short ${path})
  execute_process(COMMAND dpkg-query --search ${path} ${short} OUTPUT_VARIABLE owner ERROR_QUIET)
  string(REGEX MATCH "^[^:,\n]+" package "${owner}")
  if(NOT package OR NOT EXISTS /usr/share/doc/${package}/copyright)
    message(WARNING "The licence of ${library} is not known: add it to ${licences} before the tree is given away")
  else()
    file(COPY_FILE /usr/share/doc/${package}/copyright ${licences}/${package}.txt)
  endif()
endforeach()
