// The directory of a zip archive whose entries are stored without compression, as torch.save writes
// it: names ↔ bytes of the archive. zip64 included. Knows nothing about what the entries hold.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>

namespace continuo {

using ZipEntries = std::map<std::string, std::span<const std::byte>, std::less<>>;

bool looks_like_zip(std::span<const std::byte> archive);

// Views into `archive`, which must outlive them. `file` names the archive in errors. Error:
// truncated, offsets or sizes outside the archive, overlapping entries, duplicate names,
// compression, encryption, parts of several disks. Checksums are not verified: writers may leave
// them out.
ZipEntries read_stored_zip(std::span<const std::byte> archive, const std::string& file);

}  // namespace continuo
