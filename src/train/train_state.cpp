#include "train/train_state.h"

#include <cmath>
#include <limits>
#include <set>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"

namespace continuo {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kVersionKey = "format_version";
constexpr int64_t kVersion = 3;

// The one list of the keys that a version has; serves writing and reading.
template <class Visitor, class State>
void visit(int64_t version, Visitor&& field, State& state) {
  field("step", state.step);
  field("epoch", state.epoch);
  field("index", state.index);
  field("rows", state.rows);
  field("tokens", state.tokens);
  field("trained_tokens", state.trained_tokens);
  field("best_eval_loss", state.best_eval_loss);
  field("best_eval_step", state.best_eval_step);
  field("evals_without_improvement", state.evals_without_improvement);
  field("config_hash", state.config_hash);
  field("data_hash", state.data_hash);
  field("tokenizer_hash", state.tokenizer_hash);
  field("template_hash", state.template_hash);
  field("seconds", state.seconds);
  field("threads", state.arithmetic.threads);
  if (version < 2) return;
  field("dtype", state.arithmetic.dtype);
  field("instruction_set", state.arithmetic.instruction_set);
  if (version < 3) return;
  field("ranks", state.arithmetic.ranks);
}

struct Writer {
  Json& json;

  void operator()(const char* key, int64_t value) { json[key] = value; }
  void operator()(const char* key, const std::string& value) { json[key] = value; }
  void operator()(const char* key, double value) {
    if (!std::isfinite(value)) fail("state.json cannot hold {} = {}", key, value);
    json[key] = value;
  }
  void operator()(const char* key, const std::optional<double>& value) {
    if (value) return (*this)(key, *value);
    json[key] = nullptr;
  }
};

struct Reader {
  const nlohmann::json& json;
  const std::string& file;
  std::set<std::string> known{kVersionKey};

  const nlohmann::json& at(const char* key) {
    known.insert(key);
    const auto found = json.find(key);
    if (found == json.end()) fail("{}: '{}' is missing", file, key);
    return *found;
  }
  int64_t counter(const char* key) {
    const nlohmann::json& value = at(key);
    if (!value.is_number_unsigned() ||
        value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      fail("{}: '{}' is not a whole number of at least 0", file, key);
    }
    return value.get<int64_t>();
  }

  void operator()(const char* key, int64_t& value) { value = counter(key); }
  void operator()(const char* key, std::string& value) {
    if (!at(key).is_string()) fail("{}: '{}' is not a string", file, key);
    value = at(key).get<std::string>();
  }
  void operator()(const char* key, double& value) {
    if (!at(key).is_number()) fail("{}: '{}' is not a number", file, key);
    value = at(key).get<double>();
  }
  void operator()(const char* key, std::optional<double>& value) {
    value.reset();
    if (!at(key).is_null()) (*this)(key, value.emplace());
  }
};

}  // namespace

std::string to_json(const TrainState& state) {
  Json json;
  json[kVersionKey] = kVersion;
  visit(kVersion, Writer{json}, state);
  return json.dump(2) + '\n';
}

TrainState parse_train_state(std::string_view text, const std::string& file) {
  const nlohmann::json json = parse_json(text, {file});
  if (!json.is_object()) fail("{}: not a JSON object", file);
  Reader reader{json, file};
  const int64_t version = reader.counter(kVersionKey);
  if (version < 1 || version > kVersion) {
    throw Error(
        fmt::format("{}: format version {}, this program reads 1 to {}", file, version, kVersion),
        version > kVersion ? "it was written by a newer Continuo" : "");
  }
  TrainState state;
  visit(version, reader, state);
  for (const auto& [key, value] : json.items()) {
    if (!reader.known.contains(key)) fail("{}: unknown key '{}'", file, key);
  }
  return state;
}

}  // namespace continuo
