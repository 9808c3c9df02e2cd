// manifest.json: size and XXH3-128 hash of every file of a directory, so that damage is found
// before it is trained on. Knows nothing about what the files hold.
#pragma once

#include <filesystem>

namespace continuo {

inline constexpr const char* kManifestFile = "manifest.json";

// Lists every regular file below `directory` except the manifest itself.
void write_manifest(const std::filesystem::path& directory);

// Error naming the first file that is missing, has another size or other content. Files that the
// manifest does not list are no fault.
void verify_manifest(const std::filesystem::path& directory);

}  // namespace continuo
