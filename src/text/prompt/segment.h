// Text with its mask, and what conversations consist of.
#pragma once

#include <string>
#include <vector>

namespace continuo {

// A stretch of text. Trained segments count in the loss; a special one names a vocabulary entry
// ("<|user|>").
struct Segment {
  std::string text;
  bool trained = false;
  bool special = false;
  float weight = 1;  // of a trained segment in the loss

  bool operator==(const Segment&) const = default;
};

struct Turn {
  std::string role;  // system, developer, user, assistant, tool
  std::string content;
  // The whole message as a JSON object where it has more than the two (tool_calls,
  // reasoning_content) or another content than text; only chat templates read it.
  std::string message = {};
  bool calls_tools = false;  // as `message` has it
  float weight = 1;          // of an answer in the loss
};

struct Conversation {
  std::vector<Turn> turns;
  std::string tools = {};  // what the assistant may call: a JSON list, for chat templates; or empty
};

}  // namespace continuo
