// Stages that forbid or favour given tokens:
//   logit_bias      l += bias; −inf forbids
//   banned_words    forbids the last token of a word once the tokens before it stand at the end
//   min_new_tokens  forbids all end-of-sequence tokens until the completion is that long
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "core/error.h"
#include "generate/sampling/stage.h"

namespace continuo {

inline void check_token_id(int64_t id, const Vocabulary& vocabulary, std::string_view stage) {
  if (id < 0 || id >= vocabulary.size) {
    fail("{}: token id {} is not in the vocabulary of {} tokens", stage, id, vocabulary.size);
  }
}

// Error: the text has no tokens, or nothing here can encode.
inline std::vector<TokenId> encode_for(std::string_view stage, std::string_view text,
                                       const Vocabulary& vocabulary) {
  if (!vocabulary.encode) fail("{}: this vocabulary cannot encode text; give token ids", stage);
  std::vector<TokenId> ids = vocabulary.encode(text);
  if (ids.empty()) fail("{}: the text \"{}\" has no tokens", stage, text);
  return ids;
}

struct LogitBiasParams {
  std::map<std::string, double> ids;
  std::map<std::string, double> text;
};
inline void fields(FieldVisitor& v, LogitBiasParams& c) {
  v.field("ids", c.ids, "Token id: bias added to its logit; -inf forbids it.");
  v.field("text", c.text, "Text: bias added to every token it consists of.");
}

class LogitBias : public StageBase<LogitBias, LogitBiasParams> {
 public:
  using StageBase::StageBase;

  void bind(const Vocabulary& vocabulary) override {
    std::map<TokenId, double> biases;
    const auto add = [&](TokenId id, double bias, std::string_view what) {
      if (std::isnan(bias) || (std::isinf(bias) && bias > 0)) {
        throw Error(fmt::format("logit_bias: the bias of \"{}\" must be finite or -inf", what));
      }
      biases[id] += bias;
    };
    for (const auto& [key, bias] : params_.ids) {
      int64_t id = 0;
      const auto [end, fault] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (fault != std::errc() || end != key.data() + key.size()) {
        throw Error(fmt::format("logit_bias: \"{}\" is not a token id", key),
                    "put texts under `text:`");
      }
      check_token_id(id, vocabulary, "logit_bias");
      add(static_cast<TokenId>(id), bias, key);
    }
    for (const auto& [text, bias] : params_.text) {
      std::vector<TokenId> ids = encode_for("logit_bias", text, vocabulary);
      std::sort(ids.begin(), ids.end());
      ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
      for (TokenId id : ids) add(id, bias, text);
    }
    ids_.clear();
    biases_.clear();
    for (const auto& [id, bias] : biases) {
      ids_.push_back(id);
      biases_.push_back(bias);
    }
  }
  void apply(Candidates& row, const StageContext&) override {
    row.edit(ids_, [&](size_t i, double l) { return l + biases_[i]; });
  }

 private:
  std::vector<TokenId> ids_;  // ascending
  std::vector<double> biases_;
};

struct BannedWordsParams {
  std::vector<std::string> words;
  std::vector<int64_t> ids;
};
inline void fields(FieldVisitor& v, BannedWordsParams& c) {
  v.field("words", c.words,
          "Texts that must not be written; each is also banned with a space before it.");
  v.field("ids", c.ids, "Token ids that must not be drawn.");
}

class BannedWords : public StageBase<BannedWords, BannedWordsParams> {
 public:
  using StageBase::StageBase;

  void bind(const Vocabulary& vocabulary) override {
    sequences_.clear();
    for (int64_t id : params_.ids) {
      check_token_id(id, vocabulary, "banned_words");
      sequences_.push_back({static_cast<TokenId>(id)});
    }
    for (const std::string& word : params_.words) {
      if (word.empty()) fail("banned_words: a word is empty");
      sequences_.push_back(encode_for("banned_words", word, vocabulary));
      if (word.front() != ' ') {
        sequences_.push_back(encode_for("banned_words", " " + word, vocabulary));
      }
    }
  }
  void apply(Candidates& row, const StageContext& context) override {
    std::vector<TokenId> banned;
    for (const std::vector<TokenId>& sequence : sequences_) {
      const size_t before = sequence.size() - 1;
      if (context.history.size() < before) continue;
      const auto tail = context.history.last(before);
      if (std::equal(tail.begin(), tail.end(), sequence.begin())) banned.push_back(sequence.back());
    }
    std::sort(banned.begin(), banned.end());
    row.remove(banned);
  }

 private:
  std::vector<std::vector<TokenId>> sequences_;
};

struct MinNewTokensParams {
  int64_t n = 1;
};
inline void fields(FieldVisitor& v, MinNewTokensParams& c) {
  v.field("n", c.n, "End-of-sequence is forbidden before so many tokens.", Range::at_least(0));
}

class MinNewTokens : public StageBase<MinNewTokens, MinNewTokensParams> {
 public:
  using StageBase::StageBase;
  void apply(Candidates& row, const StageContext& context) override {
    if (context.completion().size() >= static_cast<size_t>(params_.n)) return;
    std::vector<TokenId> ends = context.vocabulary.eos;
    std::sort(ends.begin(), ends.end());
    row.remove(ends);
  }
};

}  // namespace continuo
