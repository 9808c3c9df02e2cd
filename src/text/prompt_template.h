// How a record or a conversation becomes text, and which parts of it are trained. The same object serves training
// and generation and travels with the checkpoint (prompt.yaml), so both see the same prompt ids.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "text/tokenizer.h"

namespace continuo {

// A stretch of text. Trained segments count in the loss; a special one names a vocabulary entry ("<|user|>").
struct Segment {
  std::string text;
  bool trained = false;
  bool special = false;
};

struct Turn {
  std::string role;  // system, user, assistant
  std::string content;
};

using Fields = std::map<std::string, std::string, std::less<>>;

struct PromptConfig {
  std::string prompt = "{prompt}";          // "{name}" is a field, "{{" a brace, "<|x|>"-style specials via `specials`
  std::string completion = "{completion}";  // may be "{text}" with an empty prompt: plain text, everything trained
  std::string system = "{content}\n";       // conversations: one format per role
  std::string user = "{content}\n";
  std::string assistant = "{content}";      // trained, followed by end-of-sequence
  std::vector<std::string> specials;        // vocabulary entries that the formats above may name
  bool bos = false;                         // open every document with the beginning-of-sequence id
};
void fields(FieldVisitor& v, PromptConfig& c);

// Tokens of one document with the flag of each: 1 = counts in the loss.
struct MaskedTokens {
  std::vector<TokenId> tokens;
  std::vector<uint8_t> trained;
};

class PromptTemplate {
 public:
  // Error: unbalanced brace, special that is not in `specials`.
  explicit PromptTemplate(PromptConfig config);

  // Training. Error: a field the formats name is missing.
  std::vector<Segment> render(const Fields& fields) const;
  std::vector<Segment> render(std::span<const Turn> turns) const;
  // Generation: exactly the untrained prefix of `render`.
  std::vector<Segment> render_prompt(const Fields& fields) const;
  std::vector<Segment> render_prompt(std::span<const Turn> turns) const;
  // The text that a user typed: fills the one field of `prompt`. Error when `prompt` names several.
  std::vector<Segment> render_prompt(const std::string& text) const;

  const std::vector<std::string>& prompt_fields() const;
  const std::vector<std::string>& completion_fields() const;
  const PromptConfig& config() const { return config_; }
  std::string hash() const;

  void save(const std::filesystem::path& file) const;
  static PromptTemplate load(const std::filesystem::path& file);

 private:
  PromptConfig config_;
};

// prompt ids ++ completion ids ++ [end-of-sequence]: each run of segments up to a change of `trained` is encoded on its
// own (the first with `encode`, later ones with `encode_continuation`), so prompt ids never depend on the completion.
// End-of-sequence is appended as an id after every trained run, trained. Error: tokenizer without EOS, unknown special.
MaskedTokens encode_training(const Tokenizer& tokenizer, const PromptTemplate& prompt, std::span<const Segment> segments);
// The ids that generation starts from; equals the untrained prefix of encode_training.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, const PromptTemplate& prompt,
                                   std::span<const Segment> segments);

}  // namespace continuo
