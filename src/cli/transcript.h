// What was asked and answered in a session, with the settings: a JSON file and back. Knows no
// model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "generate/generation_config.h"

namespace continuo {

struct Exchange {
  std::string prompt;
  std::vector<std::string> answers;  // one per sample
  std::string finish_reason;         // of the first
  int64_t seed = 0;
  bool chat = false;  // asked as a turn of a conversation
};

struct Transcript {
  std::vector<Exchange> exchanges;
  GenerationConfig settings;
  bool chat = false;
};

// Atomically. Error: unwritable.
void save_transcript(const Transcript& transcript, const std::filesystem::path& file);
// Error: unreadable, not a transcript, faulty settings; naming the file.
Transcript load_transcript(const std::filesystem::path& file);

}  // namespace continuo
