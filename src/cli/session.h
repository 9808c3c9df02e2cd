// A session without terminal and model: which input is a command, what an input asks for, what
// /regen, /undo, /load and /chat do to the transcript. The terminal is in interactive.h.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/prompt_source.h"
#include "cli/transcript.h"

namespace continuo {

struct SessionCommand {
  std::string name;      // "set"
  std::string argument;  // the rest, without blanks around it
};

struct CommandHelp {
  std::string_view name, argument, help;
};
// All commands, in the order of /help.
std::span<const CommandHelp> session_commands();

// "/set top_p=0.9" → {set, "top_p=0.9"}; nothing for text. Only a single line that starts with "/"
// is a command, and "//" there stands for a text that starts with "/". Error: unknown command, with
// a suggestion; an argument too many or too few.
std::optional<SessionCommand> parse_command(std::string_view input);

// Lines → inputs. A line that ends in a backslash goes on in the next one; `"""` opens and closes a
// block of lines that are taken as they are.
class InputAssembler {
 public:
  struct Input {
    std::string text;
    bool block = false;  // came as a block: never a command
  };
  // The input that is complete with this line.
  std::optional<Input> push(std::string_view line);
  bool continuing() const { return in_block_ || !lines_.empty(); }
  void clear();

 private:
  bool in_block_ = false;
  std::vector<std::string> lines_;
};

class Session {
 public:
  explicit Session(GenerationConfig settings) { transcript_.settings = std::move(settings); }

  // What is to be generated; nothing changes until `answered`.
  struct Request {
    PromptInput input;
    GenerationConfig settings;
    Exchange exchange;      // without its answers
    bool replaces = false;  // the last exchange
  };
  Request ask(std::string text) const;
  // The last prompt again with the next seed. Error: nothing was asked.
  Request regenerate() const;
  void answered(Request request, std::vector<std::string> answers, std::string finish_reason);

  // The exchange that was dropped. Error: there is none.
  Exchange undo();
  void set_chat(bool on) { transcript_.chat = on; }
  void set_settings(GenerationConfig settings) { transcript_.settings = std::move(settings); }
  void load(Transcript transcript) { transcript_ = std::move(transcript); }

  const Transcript& transcript() const { return transcript_; }
  const GenerationConfig& settings() const { return transcript_.settings; }
  bool chat() const { return transcript_.chat; }

 private:
  // The conversation that ends with `text`: the chat exchanges in an unbroken row before `end`.
  PromptInput input_for(const std::string& text, bool chat, size_t end) const;

  Transcript transcript_;
};

}  // namespace continuo
