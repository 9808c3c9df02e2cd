#include "cli/transcript.h"

#include <nlohmann/json.hpp>

#include "app/settings.h"
#include "core/files.h"
#include "core/json.h"

namespace continuo {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "continuo transcript 1";

json exchange_json(const Exchange& exchange) {
  return {{"prompt", exchange.prompt},
          {"answers", exchange.answers},
          {"finish_reason", exchange.finish_reason},
          {"seed", exchange.seed},
          {"chat", exchange.chat}};
}

Exchange read_exchange(const json& object) {
  return {.prompt = object.at("prompt").get<std::string>(),
          .answers = object.at("answers").get<std::vector<std::string>>(),
          .finish_reason = object.at("finish_reason").get<std::string>(),
          .seed = object.at("seed").get<int64_t>(),
          .chat = object.at("chat").get<bool>()};
}

}  // namespace

void save_transcript(const Transcript& transcript, const std::filesystem::path& file) {
  json exchanges = json::array();
  for (const Exchange& exchange : transcript.exchanges) {
    exchanges.push_back(exchange_json(exchange));
  }
  const json document = {{"format", kFormat},
                         {"settings", settings_json(transcript.settings)},
                         {"chat", transcript.chat},
                         {"exchanges", std::move(exchanges)}};
  atomic_write(file, document.dump(2) + "\n");
}

Transcript load_transcript(const std::filesystem::path& file) {
  const json document = read_json(file);
  const Location where{file.string()};
  try {
    if (document.at("format").get<std::string>() != kFormat) {
      throw Error(where, "this transcript has another format",
                  fmt::format("expected \"format\": \"{}\"", kFormat));
    }
    Transcript transcript;
    transcript.settings = settings_from_json(document.at("settings"), file.string());
    transcript.chat = document.at("chat").get<bool>();
    for (const json& exchange : document.at("exchanges")) {
      transcript.exchanges.push_back(read_exchange(exchange));
    }
    return transcript;
  } catch (const json::exception& error) {
    throw Error(where, fmt::format("this is not a transcript of a session: {}", error.what()));
  }
}

}  // namespace continuo
