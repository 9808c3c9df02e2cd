// Reads, parses and tokenizes the sources of a store and writes its file: one reader and writer,
// many tokenizing threads, the same bytes for any number of them.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/data_config.h"
#include "text/prompt/prompt_template.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

struct StorePlan {
  std::vector<DataSource> sources;  // formats detected
  int64_t context = 0;
  Split split = Split::kAll;
  double eval_share = 0;
  FaultyRows faulty_rows = FaultyRows::kFail;
  OverlongRows overlong = OverlongRows::kDrop;
  int64_t threads = 0;
};

// True for a row that belongs to the held-out share. Depends on nothing but the text and flags of
// its segments.
bool held_out(std::span<const Segment> segments, double share);

// Errors: faulty row (file:line), unreadable file, interrupted. Nothing is left at `path` then.
void build_store(const StorePlan& plan, const Tokenizer& tokenizer, const PromptTemplate& prompt,
                 const std::filesystem::path& path, const std::string& key);

}  // namespace continuo
