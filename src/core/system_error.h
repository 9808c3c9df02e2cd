// An Error for a failed system call on a file.
#pragma once

#include <cerrno>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "core/error.h"

namespace continuo {

// "cannot write runs/x/model.safetensors: No space left on device", with a hint where one helps.
inline Error system_error(std::string_view action, const std::filesystem::path& path, int code) {
  std::string hint;
  if (code == ENOSPC || code == EDQUOT) hint = "free some space or choose another directory";
  if (code == EACCES || code == EPERM) hint = "check the permissions of the file and its directory";
  if (code == EROFS) hint = "the file system is mounted read-only";
  if (code == EMFILE || code == ENFILE)
    hint = "too many open files; raise the limit with ulimit -n";
  return Error(
      fmt::format("cannot {} {}: {}", action, path.string(), std::generic_category().message(code)),
      hint);
}

}  // namespace continuo
