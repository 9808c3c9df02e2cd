// Lines from a terminal with editing, history and completion (GNU readline); it echoes to standard
// error. Needs the handlers of core/interrupt.h. Readline keeps its state in globals: one at a
// time.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace continuo {

class LineEditor {
 public:
  // `words` complete at the start of a line.
  explicit LineEditor(std::vector<std::string> words);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class Event { kLine, kInterrupt, kEnd };
  struct Result {
    Event event;
    std::string line;
  };
  // kInterrupt: Ctrl-C, the line is discarded. kEnd: Ctrl-D on an empty line, a closed terminal or
  // SIGTERM.
  Result read(const std::string& prompt);

  // To the list of the arrow keys, and to the file; a file that cannot be written is named once.
  void remember(const std::string& entry);

 private:
  std::filesystem::path history_;
};

}  // namespace continuo
