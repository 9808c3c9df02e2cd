// JSON text → nlohmann::json with faults as Error at line:column. Knows nothing about what the
// document means.
#pragma once

#include <filesystem>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "core/error.h"

namespace continuo {

// `where` is the place of the text's first byte: {file} for a whole file, {file, line} for one line
// of JSONL. Error: not JSON, text after the document, nested deeper than 500.
nlohmann::json parse_json(std::string_view text, const Location& where);
nlohmann::json read_json(const std::filesystem::path& path);

// Place of the byte `offset` of `text`, whose first byte is at `where`; columns count code points.
Location locate_offset(std::string_view text, size_t offset, const Location& where);

}  // namespace continuo
