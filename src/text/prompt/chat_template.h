// A model's chat template (Jinja) applied to conversations: the text that transformers renders, cut
// into segments with the mask of training. Only what the template itself writes can be a special
// token; text of a message that spells one stays text.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/render.h"
#include "text/prompt/segment.h"

namespace continuo {

struct ChatSettings {
  std::string source;                            // the template
  std::string system;                            // opens conversations that have no system turn
  std::map<std::string, std::string> variables;  // "true" and "false" become booleans
  std::vector<std::string> specials;             // pieces that the template's text may spell
};

class ChatTemplate {
 public:
  // Error: what the parser finds.
  explicit ChatTemplate(ChatSettings settings);

  // Trained is what follows the generation prompt of each answer, its calls of tools too, through
  // the special token that ends the turn; in a template with {% generation %}, what that marks of
  // it. Error: unknown role; what the template raises; a generation prompt that is not how the text
  // before an answer begins, an answer or a call that the template leaves out: training would teach
  // what generation never sees.
  std::vector<Segment> training(std::span<const Turn> turns, std::string_view tools = {}) const;
  // The text that the next answer follows; earlier answers are trained segments as above where
  // their generation prompt agrees, untrained text otherwise.
  std::vector<Segment> generation(std::span<const Turn> turns, std::string_view tools = {}) const;
  // The special that ends an answer; none for templates that end it otherwise, or that cannot
  // render one question with one answer.
  const std::optional<std::string>& end_of_turn() const { return end_of_turn_; }

  // The text alone, as transformers' apply_chat_template gives it.
  jinja::Text render(std::span<const Turn> turns, bool generation_prompt,
                     std::string_view tools = {}) const;
  // Those of `pieces` that the template's text spells: in its source, or when it renders.
  std::vector<std::string> spelled(std::span<const std::string> pieces) const;
  // The template with `system` and `variables` written into it, for programs that know only Jinja.
  std::string standalone() const;

 private:
  struct Range {
    size_t begin = 0, end = 0;
  };
  // A conversation as the template sees it.
  struct Scene {
    std::vector<Turn> turns;  // the default system turn among them
    std::vector<jinja::Value> messages;
    jinja::Value tools;
  };
  Scene scene_of(std::span<const Turn> turns, std::string_view tools) const;
  // The first `count` messages.
  jinja::Text render_all(const Scene& scene, size_t count, bool generation_prompt) const;
  std::vector<Range> find_specials(const jinja::Text& text) const;
  std::vector<Segment> segments(const Scene& scene, bool generation_prompt) const;
  size_t answer_begin(const jinja::Text& text, const Scene& scene, size_t turn,
                      bool training) const;
  Range answer(const jinja::Text& text, std::span<const Range> specials, const Scene& scene,
               size_t turn, size_t begin) const;
  size_t calls_end(const jinja::Text& text, const Scene& scene, size_t turn, size_t begin) const;
  size_t turn_end(const jinja::Text& text, std::span<const Range> specials, Range between,
                  bool calls) const;
  std::vector<Range> marked_parts(const jinja::Text& text, std::span<const Range> specials,
                                  Range answer) const;
  void check_shown(const jinja::Text& text, Range answer, const Scene& scene, size_t turn) const;

  ChatSettings settings_;
  std::shared_ptr<const jinja::Body> body_;
  bool marks_answers_ = false;  // with {% generation %}
  std::optional<std::string> end_of_turn_;
};

}  // namespace continuo
