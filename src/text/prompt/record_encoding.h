// Record → tokens with their mask: the one call with which a training row goes through text.
// Renders, asks whether the row is wanted, tokenizes. Thread-safe; knows no files and no lengths.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "text/prompt/prompt_template.h"
#include "text/prompt/record.h"

namespace continuo {

struct EncodedRecord {
  MaskedTokens tokens;
  bool unwanted = false;  // `wanted` said no: there are no tokens
  // Earlier releases, which knew roles and contents alone and ended every answer with
  // end-of-sequence, made something else of it.
  bool revised = false;
};

// The template does not write this record: why.
struct RefusedRecord {
  std::string message;
};

// Decides by what the template made of a record, before the costly part.
using RecordFilter = std::function<bool(std::span<const Segment>)>;

// What is trained and what is not. A document bypasses the template: one trained segment. Error:
// what the template refuses.
std::vector<Segment> render_record(const PromptTemplate& prompt, const Record& record);

// Error: faults of tokenizer and template together, which are not this record's alone (see
// encode_training).
std::variant<EncodedRecord, RefusedRecord> encode_record(const Tokenizer& tokenizer,
                                                         const PromptTemplate& prompt,
                                                         const Record& record,
                                                         const RecordFilter& wanted = {});

}  // namespace continuo
