#include "text/prompt/record_encoding.h"

#include <algorithm>

#include "core/error.h"

namespace continuo {
namespace {

// Whether an answer before the last is followed by text without a special token between them.
bool ends_without_special(std::span<const Segment> segments) {
  for (size_t i = 0; i + 1 < segments.size(); ++i) {
    const bool ends = segments[i].trained && !segments[i + 1].trained && !segments[i].special;
    if (ends && std::ranges::any_of(segments.subspan(i + 1), &Segment::trained)) return true;
  }
  return false;
}

bool is_revised(const PromptTemplate& prompt, const Conversation& conversation,
                const std::vector<Segment>& segments) {
  if (!prompt.is_chat()) return false;
  if (ends_without_special(segments)) return true;
  const std::vector<Turn>& turns = conversation.turns;
  const bool more = !conversation.tools.empty() ||
                    std::ranges::any_of(turns, [](const Turn& t) { return !t.message.empty(); });
  if (!more) return false;
  std::vector<Turn> bare = turns;
  for (Turn& turn : bare) turn = {turn.role, turn.content};
  try {
    return prompt.render(bare) != segments;
  } catch (const Error&) {
    return true;
  }
}

}  // namespace

std::vector<Segment> render_record(const PromptTemplate& prompt, const Record& record) {
  if (const auto* fields = std::get_if<Fields>(&record)) return prompt.render(*fields);
  if (const auto* talk = std::get_if<Conversation>(&record)) {
    return prompt.render(talk->turns, talk->tools);
  }
  return {{std::get<Document>(record).text, /*trained=*/true, /*special=*/false}};
}

std::variant<EncodedRecord, RefusedRecord> encode_record(const Tokenizer& tokenizer,
                                                         const PromptTemplate& prompt,
                                                         const Record& record,
                                                         const RecordFilter& wanted) {
  std::vector<Segment> segments;
  try {
    segments = render_record(prompt, record);
  } catch (const Error& error) {
    return RefusedRecord{error.what()};
  }
  EncodedRecord result;
  if (const auto* conversation = std::get_if<Conversation>(&record)) {
    result.revised = is_revised(prompt, *conversation, segments);
  }
  result.unwanted = wanted && !wanted(segments);
  if (!result.unwanted) result.tokens = encode_training(tokenizer, prompt, segments);
  return result;
}

}  // namespace continuo
