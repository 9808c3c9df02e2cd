#include "text/tokenizer/sentencepiece_trainer.h"

#include <charconv>
#include <exception>
#include <string_view>
#include <unordered_map>

#include <fmt/ranges.h>
#include <sentencepiece_trainer.h>

#include "core/error.h"
#include "text/tokenizer/training_text.h"

namespace continuo {
namespace {

// Hands TrainingText to the library. Its exceptions must not cross the library's threads and locks:
// they wait here.
class Sentences final : public sentencepiece::SentenceIterator {
 public:
  Sentences(const TokenizerTrainConfig& config, const std::function<void(int64_t)>& on_read)
      : text_(config), on_read_(on_read) {
    Next();
  }

  bool done() const override { return done_; }
  void Next() override {
    try {
      done_ = !text_.next(sentence_) && !close();
      ++count_;
      if (on_read_ && (done_ || count_ % 1024 == 0)) on_read_(text_.bytes_read());
    } catch (...) {
      fault_ = std::current_exception();
      done_ = true;
    }
  }
  const std::string& value() const override { return sentence_; }
  sentencepiece::util::Status status() const override {
    if (!fault_) return {};
    return {sentencepiece::util::StatusCode::kCancelled, "reading failed"};
  }

  void rethrow() const {
    if (fault_) std::rethrow_exception(fault_);
  }

 private:
  // Ends with one space: the library requires characters (see `required_chars`) to occur, and
  // leaves the process when one does not.
  bool close() {
    if (count_ == 0 || closed_) return false;
    sentence_ = " ";
    return closed_ = true;
  }

  TrainingText text_;
  const std::function<void(int64_t)>& on_read_;
  std::string sentence_;
  int64_t count_ = 0;
  bool closed_ = false;
  bool done_ = false;
  std::exception_ptr fault_;
};

std::unordered_map<std::string, std::string> options(const TokenizerTrainConfig& config) {
  auto flag = [](bool on) { return std::string(on ? "true" : "false"); };
  std::unordered_map<std::string, std::string> result{
      {"model_type", config.model == TokenizerModel::kBpe ? "bpe" : "unigram"},
      {"vocab_size", std::to_string(config.vocab_size)},
      {"byte_fallback", flag(config.byte_fallback)},
      {"split_digits", flag(config.split_digits)},
      {"add_dummy_prefix", flag(config.add_dummy_prefix)},
      {"character_coverage", fmt::format("{}", config.character_coverage)},
      {"max_sentencepiece_length", std::to_string(config.max_piece_length)},
      {"max_sentence_length", std::to_string(config.max_sentence_length)},
      {"num_threads", std::to_string(config.threads)},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"allow_whitespace_only_pieces", "true"},
      // A space without a piece would become the bytes of U+2581.
      {"required_chars", "\xE2\x96\x81"},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "3"},
      {"minloglevel", "3"},
  };
  if (!config.specials.empty()) {
    result["control_symbols"] = fmt::format("{}", fmt::join(config.specials, ","));
  }
  return result;
}

// The number that follows `words` in the library's message, 0 when it is not there.
int64_t number_after(std::string_view message, std::string_view words) {
  size_t at = message.find(words);
  if (at == std::string_view::npos) return 0;
  message.remove_prefix(at + words.size());
  int64_t number = 0;
  std::from_chars(message.data(), message.data() + message.size(), number);
  return number;
}

[[noreturn]] void explain(const std::string& message, const TokenizerTrainConfig& config) {
  if (int64_t most = number_after(message, "set it to a value <= ")) {
    throw Error(
        fmt::format("vocab_size {} is too large for these texts: they give {} pieces at most",
                    config.vocab_size, most),
        fmt::format("set vocab_size={} or less, or add text", most));
  }
  if (int64_t least = number_after(message, " vs ")) {
    throw Error(
        fmt::format(
            "vocab_size {} is too small: specials, bytes and single characters alone are {} pieces",
            config.vocab_size, least),
        "raise vocab_size, or lower character_coverage");
  }
  fail("SentencePiece could not train the tokenizer: {}", message);
}

}  // namespace

std::string train_sentencepiece(const TokenizerTrainConfig& config,
                                const std::function<void(int64_t bytes)>& on_read) {
  Sentences sentences(config, on_read);
  sentences.rethrow();
  if (sentences.done()) {
    throw Error("the inputs of the tokenizer hold no text", "see `inputs` and their `fields`");
  }
  std::string model;
  sentencepiece::util::Status status =
      sentencepiece::SentencePieceTrainer::Train(options(config), &sentences, &model);
  sentences.rethrow();
  if (!status.ok()) explain(status.message(), config);
  return model;
}

}  // namespace continuo
