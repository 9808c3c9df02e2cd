#include "text/tokenizer/post_processor.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace continuo {
namespace {

using nlohmann::json;

constexpr int kDeepestSequence = 4;

void read_step(const json& step, int depth, SurroundingTokens& found) {
  if (!step.is_object() || depth > kDeepestSequence) return;
  const auto type = step.find("type");
  if (type == step.end()) return;
  if (*type == "Sequence" && step.contains("processors")) {
    for (const json& inner : step["processors"]) read_step(inner, depth + 1, found);
  }
  if (*type != "TemplateProcessing" || !step.contains("single")) return;
  bool before = true;
  for (const json& part : step["single"]) {
    if (!part.is_object()) return;
    if (part.contains("Sequence")) before = false;
    const auto special = part.find("SpecialToken");
    if (special == part.end() || !special->is_object()) continue;
    const auto name = special->find("id");
    if (name == special->end() || !name->is_string()) continue;
    (before ? found.before : found.behind).push_back(name->get<std::string>());
  }
}

}  // namespace

SurroundingTokens surrounding_tokens(const json& post_processor) {
  SurroundingTokens found;
  read_step(post_processor, 0, found);
  return found;
}

SurroundingTokens surrounding_tokens(const std::filesystem::path& tokenizer_json) {
  const auto wanted = [](int depth, json::parse_event_t event, json& parsed) {
    return depth != 1 || event != json::parse_event_t::key || parsed == "post_processor";
  };
  const json document = json::parse(read_file(tokenizer_json), wanted, /*allow_exceptions=*/false);
  if (document.is_discarded()) {
    throw Error(Location{.file = tokenizer_json.string()}, "is not JSON");
  }
  const auto found = document.is_object() ? document.find("post_processor") : document.end();
  return found == document.end() ? SurroundingTokens{} : surrounding_tokens(*found);
}

json bos_post_processor(const std::string& piece, TokenId id) {
  const auto special = [&](int type) -> json {
    return {{"SpecialToken", {{"id", piece}, {"type_id", type}}}};
  };
  const auto text = [](const char* name, int type) -> json {
    return {{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", json::array({special(0), text("A", 0)})},
          {"pair", json::array({special(0), text("A", 0), special(1), text("B", 1)})},
          {"special_tokens",
           {{piece, {{"id", piece}, {"ids", {id}}, {"tokens", json::array({piece})}}}}}};
}

}  // namespace continuo
