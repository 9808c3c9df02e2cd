// Helpers for tests of the data layer.
#pragma once

#include <string>
#include <vector>

#include "data/example_store.h"
#include "support/byte_tokenizer.h"
#include "support/temp_dir.h"
#include "text/prompt/prompt_template.h"

namespace continuo::test {

inline PromptTemplate record_template(bool bos = false) {
  PromptConfig config;
  config.prompt = "{q}>";
  config.completion = "{a}";
  config.bos = bos ? BosRule::kTrue : BosRule::kFalse;
  return PromptTemplate(config);
}

inline PromptTemplate message_template() {
  PromptConfig config;
  config.system = "S:{content};";
  config.user = "U:{content};";
  config.assistant = "{content}";
  return PromptTemplate(config);
}

// A record as a line of JSONL.
inline std::string record(const std::string& q, const std::string& a) {
  return R"({"q": ")" + q + R"(", "a": ")" + a + "\"}\n";
}

// `count` records of varying length.
inline std::string records(int count, int first = 0) {
  std::string text;
  for (int i = first; i < first + count; ++i) {
    text +=
        record("question " + std::to_string(i) + std::string(static_cast<size_t>(i * 7 % 23), 'x'),
               "answer " + std::string(static_cast<size_t>(i * 5 % 13), 'y') + std::to_string(i));
  }
  return text;
}

// What a store holds of an example, as text: untrained | trained in brackets, </s> as "$", <s> as
// "^".
inline std::string show(const ExampleView& example) {
  std::string text;
  bool trained = false;
  for (size_t i = 0; i < example.tokens.size(); ++i) {
    if ((example.trained[i] != 0) != trained) {
      trained = !trained;
      text += trained ? '[' : ']';
    }
    const TokenId id = example.tokens[i];
    text += id == 1 ? '^' : id == 2 ? '$' : static_cast<char>(id - 3);
  }
  return trained ? text + ']' : text;
}

inline std::vector<std::string> show(const ExampleStore& store) {
  std::vector<std::string> rows;
  for (int64_t i = 0; i < store.size(); ++i) rows.push_back(show(store[i]));
  return rows;
}

// Settings whose cache lives in the directory of the test.
inline DataConfig data_config(const TempDir& dir,
                              const std::vector<std::filesystem::path>& files = {}) {
  DataConfig config;
  config.cache = (dir / "cache").string();
  config.threads = 2;
  for (const std::filesystem::path& file : files) {
    DataSource source;
    source.path = file.string();
    config.train.push_back(source);
  }
  return config;
}

inline std::shared_ptr<const ExampleStore> open_store(const DataConfig& config,
                                                      int64_t context = 1000,
                                                      Split split = Split::kAll) {
  return open_example_store(config, config.train, ByteTokenizer(), record_template(), context,
                            split);
}

// The message of the Error that `action` throws; empty when it throws none.
template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace continuo::test
