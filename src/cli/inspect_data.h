// What a model will be trained on: token statistics and the first examples with their mask.
#pragma once

#include <cstdint>
#include <string>

#include "data/example_store.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

// The report as text. Trained tokens are coloured (ANSI), or stand in ⟦…⟧ without `colour`; line
// ends, tabs, bytes that are not text and special tokens are made visible.
std::string data_report(const ExampleStore& store, const Tokenizer& tokenizer, int64_t examples,
                        bool colour);

// The same on standard output.
void print_data_report(const ExampleStore& store, const Tokenizer& tokenizer, int64_t examples,
                       bool colour);

// One example with its mask.
std::string show_example(const ExampleView& example, const Tokenizer& tokenizer, bool colour);

}  // namespace continuo
