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

std::vector<Segment> unweighed(std::vector<Segment> segments) {
  for (Segment& segment : segments) segment.weight = 1;
  return segments;
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
    return prompt.render(bare) != unweighed(segments);
  } catch (const Error&) {
    return true;
  }
}

// The runs of trained segments are the answers, in their order.
void weigh_answers(const Conversation& conversation, std::vector<Segment>& segments) {
  const auto weighed = [](const Turn& turn) { return turn.weight != 1; };
  if (std::ranges::none_of(conversation.turns, weighed)) return;
  std::vector<float> answers;
  for (const Turn& turn : conversation.turns) {
    if (turn.role == "assistant") answers.push_back(turn.weight);
  }
  size_t runs = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (!segments[i].trained) continue;
    runs += i == 0 || !segments[i - 1].trained;
    if (runs <= answers.size()) segments[i].weight = answers[runs - 1];
  }
  if (runs != answers.size()) {
    throw Error(fmt::format("the template writes {} answers of {}: their weights cannot be told",
                            runs, answers.size()));
  }
}

}  // namespace

std::vector<Segment> render_record(const PromptTemplate& prompt, const Record& record) {
  std::vector<Segment> segments;
  if (const auto* fields = std::get_if<Fields>(&record.content)) {
    segments = prompt.render(*fields);
  } else if (const auto* talk = std::get_if<Conversation>(&record.content)) {
    segments = prompt.render(talk->turns, talk->tools);
    weigh_answers(*talk, segments);
  } else {
    segments = {{std::get<Document>(record.content).text, /*trained=*/true, /*special=*/false}};
  }
  for (Segment& segment : segments) {
    if (segment.trained) segment.weight *= record.weight;
  }
  return segments;
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
  if (const auto* conversation = std::get_if<Conversation>(&record.content)) {
    result.revised = is_revised(prompt, *conversation, segments);
  }
  result.unwanted = wanted && !wanted(segments);
  if (!result.unwanted) result.tokens = encode_training(tokenizer, prompt, segments);
  return result;
}

}  // namespace continuo
