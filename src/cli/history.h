// The inputs of earlier sessions, oldest first: one a line, so several lines of one input are
// escaped. Sessions that run at the same time add to the same file. Knows no terminal.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace continuo {

// ${XDG_STATE_HOME:-~/.local/state}/continuo/history; empty when there is no home.
std::filesystem::path history_file();

// Empty when there is no such file. Error: unreadable.
std::vector<std::string> read_history(const std::filesystem::path& file);
// Under a lock, replacing the file in one step; keeps the newest entries, readable by the user
// alone. Error: unwritable.
void append_history(const std::filesystem::path& file, std::string_view entry);

}  // namespace continuo
