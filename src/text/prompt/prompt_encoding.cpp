// Segments → ids with the mask of training. One function serves both sides, which is why they
// agree.
#include <algorithm>

#include "text/prompt/prompt_template.h"

namespace continuo {
namespace {

TokenId require(std::optional<TokenId> id, std::string_view what, std::string_view why) {
  if (!id) throw Error(fmt::format("the tokenizer has no {} token", what), std::string(why));
  return *id;
}

class Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, bool bos) : tokenizer_(tokenizer), may_spell_bos_(bos) {
    if (bos)
      push(require(tokenizer.bos(), "beginning-of-sequence",
                   "set bos: false in the prompt template"),
           false);
  }

  // Segments of one run, all with the same `trained`; `ends`: end-of-sequence closes it.
  void run(std::span<const Segment> segments, bool trained, bool ends) {
    size_t begin = result_.tokens.size();
    std::string text;
    for (const Segment& segment : segments) {
      if (!segment.special) {
        text += segment.text;
        continue;
      }
      push_text(text, trained);
      text.clear();
      push_special(segment.text, trained);
    }
    push_text(text, trained);
    if (!ends) return;
    TokenId eos =
        require(tokenizer_.eos(), "end-of-sequence", "training needs one to teach where to stop");
    bool ended = result_.tokens.size() > begin && result_.tokens.back() == eos;
    if (!ended) push(eos, true);
  }

  size_t size() const { return result_.tokens.size(); }
  MaskedTokens take() { return std::move(result_); }

 private:
  void push(TokenId id, bool trained) {
    result_.tokens.push_back(id);
    result_.trained.push_back(trained);
  }

  // Only BOS leaves a document unopened.
  bool opens() const {
    return result_.tokens.empty() ||
           (result_.tokens.size() == 1 && result_.tokens[0] == tokenizer_.bos());
  }

  void push_text(std::string_view text, bool trained) {
    if (text.empty()) return;
    if (may_spell_bos_) {
      const std::string bos = tokenizer_.piece(*tokenizer_.bos());
      if (text.starts_with(bos)) text.remove_prefix(bos.size());
    }
    may_spell_bos_ = false;
    for (TokenId id : opens() ? tokenizer_.encode(text) : tokenizer_.encode_continuation(text))
      push(id, trained);
  }

  void push_special(const std::string& piece, bool trained) {
    std::optional<TokenId> id = tokenizer_.find(piece);
    if (!id || !tokenizer_.is_special(*id)) {
      throw Error(fmt::format("the prompt template's special '{}' is not {} of the tokenizer",
                              piece, id ? "a special token" : "in the vocabulary"),
                  "train the tokenizer with it in `specials`, or take it out of the template");
    }
    may_spell_bos_ = false;
    bool doubled_bos = id == tokenizer_.bos() && !result_.tokens.empty() && opens();
    if (!doubled_bos) push(*id, trained);
  }

  const Tokenizer& tokenizer_;
  bool may_spell_bos_;  // the document has BOS, and no text yet
  MaskedTokens result_;
};

// Formats end every answer with end-of-sequence. A chat template writes its ends itself; where it
// writes none, only the last run that is trained gets the id: generation renders the earlier
// answers, and must not find there what the template does not write.
bool takes_end(const PromptTemplate& prompt, std::span<const Segment> run,
               std::span<const Segment> behind, bool training) {
  if (!run.back().trained) return false;
  if (!prompt.is_chat()) return true;
  return training && !run.back().special && std::ranges::none_of(behind, &Segment::trained);
}

// Keeps weights only where one of them counts; what has weight 0 is not trained.
MaskedTokens weighed(MaskedTokens tokens, std::vector<float> weights) {
  if (std::ranges::all_of(weights, [](float weight) { return weight == 1; })) return tokens;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) tokens.trained[i] = 0;
  }
  tokens.weights = std::move(weights);
  return tokens;
}

MaskedTokens encode_segments(const Tokenizer& tokenizer, const PromptTemplate& prompt,
                             std::span<const Segment> segments, bool training) {
  Encoder encoder(tokenizer, opens_with_bos(tokenizer, prompt));
  std::vector<float> weights;
  while (!segments.empty()) {
    bool trained = segments.front().trained;
    size_t length = 1;
    while (length < segments.size() && segments[length].trained == trained) ++length;
    const std::span<const Segment> run = segments.first(length);
    segments = segments.subspan(length);
    encoder.run(run, trained, takes_end(prompt, run, segments, training));
    weights.resize(encoder.size(), run.front().weight);
  }
  return weighed(encoder.take(), std::move(weights));
}

}  // namespace

bool opens_with_bos(const Tokenizer& tokenizer, BosRule rule) {
  return rule == BosRule::kTrue || (rule == BosRule::kAuto && tokenizer.adds_bos());
}

bool opens_with_bos(const Tokenizer& tokenizer, const PromptTemplate& prompt) {
  const BosRule rule = prompt.config().bos;
  return prompt.is_chat() ? rule == BosRule::kTrue : opens_with_bos(tokenizer, rule);
}

bool exports_bos(const Tokenizer& tokenizer, const PromptTemplate& prompt) {
  return opens_with_bos(tokenizer, prompt.is_chat() ? BosRule::kAuto : prompt.config().bos);
}

MaskedTokens encode_training(const Tokenizer& tokenizer, const PromptTemplate& prompt,
                             std::span<const Segment> segments) {
  return encode_segments(tokenizer, prompt, segments, /*training=*/true);
}

std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, const PromptTemplate& prompt,
                                   std::span<const Segment> segments) {
  while (!segments.empty() && segments.back().trained)
    segments = segments.first(segments.size() - 1);
  return encode_segments(tokenizer, prompt, segments, /*training=*/false).tokens;
}

}  // namespace continuo
