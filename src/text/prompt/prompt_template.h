// How a record or a conversation becomes text, and which parts of it are trained. The same object
// serves training and generation and travels with the checkpoint (prompt.yaml), so both see the
// same prompt ids.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"
#include "text/prompt/prompt_format.h"
#include "text/prompt/record.h"
#include "text/prompt/segment.h"
#include "text/tokenizer/tokenizer.h"

namespace continuo {

class ChatTemplate;

// Whether documents open with the beginning-of-sequence id.
enum class BosRule {
  kAuto,   // as the model's own files say; a chat template writes its own
  kTrue,   // always
  kFalse,  // never
};
std::span<const EnumName> enum_names(BosRule);

struct PromptConfig {
  // "{name}" is a field, "{{" a brace, "<|x|>"-style specials via `specials`.
  std::string prompt = "{prompt}";
  // May be "{text}" with an empty prompt: plain text, everything trained.
  std::string completion = "{completion}";
  std::string system = "{content}\n";  // conversations: one format per role
  std::string user = "{content}\n";
  std::string assistant = "{content}";     // trained from {content} on, followed by end-of-sequence
  std::vector<std::string> specials = {};  // vocabulary entries that the formats above may name
  BosRule bos = BosRule::kAuto;
  // With a chat template `prompt` is the user's turn, `completion` the answer, and the three
  // formats for roles do not count.
  std::string chat = {};  // a preset; "plain": none; "base": that of the model trained from
  std::string chat_template = {};  // Jinja, as transformers has it
  std::string default_system = {};
  std::map<std::string, std::string> chat_variables = {};
};
void fields(FieldVisitor& v, PromptConfig& c);

// Tokens of one document with the flag of each: 1 = counts in the loss.
struct MaskedTokens {
  std::vector<TokenId> tokens;
  std::vector<uint8_t> trained;
  std::vector<float> weights = {};  // of each token in the loss; empty: all 1
};

class PromptTemplate {
 public:
  // Error: unbalanced brace, special that is not in `specials`, a role's format without its one
  // {content}; unknown preset, faults of the chat template.
  explicit PromptTemplate(PromptConfig config);

  // With what it needs of a tokenizer, so that what is stored says all. A chat template: the
  // preset's text, bos_token and eos_token as variables, the special tokens that its text spells.
  // Any other template: `bos` as this tokenizer's files have it. Error: a special that the
  // tokenizer does not have; "base", which only an experiment knows.
  PromptTemplate bound_to(const Tokenizer& tokenizer) const;
  PromptTemplate with_bos(BosRule bos) const;
  // No template at all, only the text, opened as the model's files or an explicit `bos` say.
  PromptTemplate raw() const;
  bool is_chat() const { return chat_ != nullptr; }
  // With a chat template: the special that ends an answer, if one does, and the template as a file
  // for transformers (chat_template.jinja).
  std::optional<std::string> end_of_turn() const;
  std::string exported_chat_template() const;

  // Training. A trained run may be empty (an empty completion): its segment is there all the same.
  // In conversations an untrained segment, possibly empty, precedes every answer, so that each one
  // is a run of its own. Tools and what messages hold beside role and content are a chat template's
  // to write; formats pass over them. Error: a field the formats name is missing, unknown role;
  // with a chat template also what ChatTemplate::training finds.
  std::vector<Segment> render(const Fields& fields) const;
  std::vector<Segment> render(std::span<const Turn> turns, std::string_view tools = {}) const;
  // Generation: exactly the untrained prefix of `render`. Of turns: everything up to where the
  // content of the next answer starts; an answer that ends `turns` is left out and asked for again.
  std::vector<Segment> render_prompt(const Fields& fields) const;
  std::vector<Segment> render_prompt(std::span<const Turn> turns,
                                     std::string_view tools = {}) const;
  // The text that a user typed: fills the one field of `prompt`. Error when `prompt` names several.
  // When it names none (never so with a chat template) the text is the beginning of the completion
  // (plain text: of the document itself) and generation goes on from there.
  std::vector<Segment> render_prompt(const std::string& text) const;

  const std::vector<std::string>& prompt_fields() const { return prompt_fields_; }
  const std::vector<std::string>& completion_fields() const { return completion_fields_; }
  const PromptConfig& config() const { return config_; }
  std::string hash() const;

  void save(const std::filesystem::path& file) const;
  static PromptTemplate load(const std::filesystem::path& file);

 private:
  void add_turn(const Turn& turn, std::vector<Segment>& segments) const;

  PromptConfig config_;
  std::vector<FormatPart> prompt_, completion_, system_, user_;
  std::vector<FormatPart> answer_header_,
      answer_;  // `assistant` before its content, and from there on
  std::vector<std::string> prompt_fields_, completion_fields_;
  std::shared_ptr<const ChatTemplate> chat_;
};

// What `rule` means for texts that no chat template writes.
bool opens_with_bos(const Tokenizer& tokenizer, BosRule rule);
// What the template's own rule means: a chat template writes BOS itself unless told otherwise.
bool opens_with_bos(const Tokenizer& tokenizer, const PromptTemplate& prompt);

// What files for other programs should say: a chat template leaves the model's convention as it is.
bool exports_bos(const Tokenizer& tokenizer, const PromptTemplate& prompt);

// [BOS] ++ prompt ids ++ completion ids ++ [end-of-sequence]: each run of segments up to a change
// of `trained` is encoded on its own, so prompt ids never depend on the completion. Text that opens
// the document (nothing before it, or BOS alone) goes through `encode`, all other text through
// `encode_continuation`. End-of-sequence is appended as an id after every trained run, trained,
// unless the run ends with it as a special segment. A run weighs what its segments do; what has
// weight 0 is not trained. A chat template ends its turns itself: of its
// runs only the last one gets the id, and only where no special ends it. A document that opens with
// BOS has one: a special segment or a text that spells it first adds no second. Error: tokenizer
// without EOS (or BOS, where the template wants one), unknown special.
MaskedTokens encode_training(const Tokenizer& tokenizer, const PromptTemplate& prompt,
                             std::span<const Segment> segments);
// The ids that generation starts from; equals the part of encode_training before its last trained
// run. With a chat template, nothing but what it renders. A trained run at the end of `segments` is
// left out.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, const PromptTemplate& prompt,
                                   std::span<const Segment> segments);

}  // namespace continuo
