#include "generate/completion.h"

namespace continuo {

std::string_view name(FinishReason reason) {
  constexpr std::string_view kNames[] = {"eos",  "stop",        "length", "context",
                                         "time", "interrupted", "error"};
  return kNames[static_cast<size_t>(reason)];
}

}  // namespace continuo
