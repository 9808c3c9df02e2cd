// Lines from a terminal with editing, history and completion (libedit); it echoes to standard
// error. Needs the handlers of core/interrupt.h. One at a time: there is one terminal.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace continuo {

class LineEditor {
 public:
  // `words` complete at the start of a line, names of files after it.
  explicit LineEditor(std::vector<std::string> words);
  ~LineEditor();

  enum class Event { kLine, kInterrupt, kEnd };
  struct Result {
    Event event;
    std::string line;  // line breaks within it were pasted or recalled
  };
  // kInterrupt: Ctrl-C, the line is discarded. kEnd: Ctrl-D on an empty line, a closed terminal or
  // SIGTERM.
  Result read(const std::string& prompt);

  // To the list of the arrow keys, and to the file; a file that cannot be written is named once.
  void remember(const std::string& entry);

 private:
  struct Terminal;  // what libedit holds and calls back

  std::unique_ptr<Terminal> terminal_;
  std::filesystem::path history_;
};

}  // namespace continuo
