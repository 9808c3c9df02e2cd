#include "cli/history.h"

#include <algorithm>
#include <cstdlib>

#include "core/file_lock.h"
#include "core/files.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

constexpr size_t kEntries = 2000;

std::string escape(std::string_view entry) {
  std::string line;
  for (const char c : entry) {
    if (c == '\n') {
      line += "\\n";
    } else if (c == '\\') {
      line += "\\\\";
    } else {
      line += c;
    }
  }
  return line;
}

std::string unescape(std::string_view line) {
  std::string entry;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\' || i + 1 == line.size()) {
      entry += line[i];
    } else {
      entry += line[++i] == 'n' ? '\n' : line[i];
    }
  }
  return entry;
}

}  // namespace

fs::path history_file() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state && fs::path(state).is_absolute()) {
    return fs::path(state) / "continuo" / "history";
  }
  const char* home = std::getenv("HOME");
  if (!home || !*home) return {};
  return fs::path(home) / ".local" / "state" / "continuo" / "history";
}

std::vector<std::string> read_history(const fs::path& file) {
  std::vector<std::string> entries;
  if (!fs::exists(file)) return entries;
  const std::string text = read_file(file);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) entries.push_back(unescape(std::string_view(text).substr(begin, end - begin)));
    begin = end + 1;
  }
  return entries;
}

void append_history(const fs::path& file, std::string_view entry) {
  make_directories(file.parent_path());
  fs::path lock_path = file;
  lock_path += ".lock";
  const FileLock lock(lock_path);
  std::vector<std::string> entries = read_history(file);
  if (!entries.empty() && entries.back() == entry) return;
  entries.emplace_back(entry);
  std::string text;
  for (size_t i = entries.size() > kEntries ? entries.size() - kEntries : 0; i < entries.size();
       ++i) {
    text += escape(entries[i]) + "\n";
  }
  atomic_write(file, text);
  fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write);
}

}  // namespace continuo
