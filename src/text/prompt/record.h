// A training row as its file says it, before any template: the fields of a record, a conversation,
// or a document of plain text.
#pragma once

#include <map>
#include <string>
#include <variant>

#include "text/prompt/segment.h"

namespace continuo {

using Fields = std::map<std::string, std::string, std::less<>>;

struct Document {
  std::string text;
};

using RecordContent = std::variant<Fields, Conversation, Document>;

struct Record {
  RecordContent content;
  float weight = 1;  // in the loss; 0: as good as untrained
};

}  // namespace continuo
