#include "models/families/config_reader.h"

#include <cmath>
#include <string_view>

#include "core/error.h"

namespace continuo {

using nlohmann::json;

namespace {

// Keys that describe the file, training or generation and leave the forward pass as it is.
const std::set<std::string_view> kHarmless = {"_attn_implementation",
                                              "_attn_implementation_autoset",
                                              "_commit_hash",
                                              "_model_name_or_path",
                                              "_name_or_path",
                                              "architectures",
                                              "attention_dropout",
                                              "attention_probs_dropout_prob",
                                              "attn_implementation",
                                              "attn_pdrop",
                                              "auto_map",
                                              "bad_words_ids",
                                              "begin_suppress_tokens",
                                              "bos_token_id",
                                              "cache_implementation",
                                              "chunk_size_feed_forward",
                                              "classifier_dropout",
                                              "cls_token_id",
                                              "decoder_start_token_id",
                                              "diversity_penalty",
                                              "do_sample",
                                              "dtype",
                                              "early_stopping",
                                              "embd_pdrop",
                                              "encoder_no_repeat_ngram_size",
                                              "eos_token_id",
                                              "exponential_decay_length_penalty",
                                              "finetuning_task",
                                              "forced_bos_token_id",
                                              "forced_eos_token_id",
                                              "gradient_checkpointing",
                                              "hidden_dropout",
                                              "hidden_dropout_prob",
                                              "id2label",
                                              "initializer_range",
                                              "is_decoder",
                                              "is_llama_config",
                                              "keys_to_ignore_at_inference",
                                              "label2id",
                                              "language",
                                              "length_penalty",
                                              "license",
                                              "loss_type",
                                              "max_length",
                                              "max_new_tokens",
                                              "max_sequence_length",
                                              "min_length",
                                              "model_type",
                                              "n_ctx",
                                              "name_or_path",
                                              "no_repeat_ngram_size",
                                              "num_beam_groups",
                                              "num_beams",
                                              "num_labels",
                                              "num_return_sequences",
                                              "output_attentions",
                                              "output_hidden_states",
                                              "output_past",
                                              "output_scores",
                                              "pad_token_id",
                                              "prefix",
                                              "problem_type",
                                              "remove_invalid_values",
                                              "reorder_and_upcast_attn",
                                              "repetition_penalty",
                                              "resid_pdrop",
                                              "return_dict",
                                              "return_dict_in_generate",
                                              "sep_token_id",
                                              "summary_activation",
                                              "summary_first_dropout",
                                              "summary_proj_to_labels",
                                              "summary_type",
                                              "summary_use_proj",
                                              "suppress_tokens",
                                              "task_specific_params",
                                              "temperature",
                                              "tokenizer_class",
                                              "top_k",
                                              "top_p",
                                              "torch_dtype",
                                              "torchscript",
                                              "transformers.js_config",
                                              "transformers_version",
                                              "typical_p",
                                              "unk_token_id",
                                              "unsloth_fixed",
                                              "unsloth_version",
                                              "use_bfloat16",
                                              "use_cache"};

bool neutral(const json& value) {
  return value.is_null() || value == false ||
         ((value.is_array() || value.is_object() || value.is_string()) &&
          (value.empty() || value == ""));
}

}  // namespace

ConfigReader::ConfigReader(const json& config, std::filesystem::path file, std::string prefix)
    : config_(config), file_(std::move(file)), prefix_(std::move(prefix)) {
  if (!config.is_object())
    throw Error(Location{.file = file_.string()}, prefix_ + " must be an object of keys");
}

void ConfigReader::fail(const std::string& key, const std::string& what) const {
  throw Error(Location{.file = file_.string()}, "key '" + prefix_ + key + "' " + what);
}

const json* ConfigReader::find(const std::string& key) {
  read_.insert(key);
  const auto found = config_.find(key);
  return found == config_.end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::has(const std::string& key) { return find(key) != nullptr; }

int64_t ConfigReader::size(const std::string& key) {
  if (!has(key)) fail(key, "is missing");
  return size(key, 1);
}

int64_t ConfigReader::size(const std::string& key, int64_t fallback) {
  const json* value = find(key);
  if (!value) return fallback;
  if (!value->is_number_integer() || *value < 1 || *value > (int64_t{1} << 31)) {
    fail(key, "must be a positive integer, not " + value->dump());
  }
  return value->get<int64_t>();
}

int64_t ConfigReader::count(const std::string& key, int64_t fallback) {
  const json* value = find(key);
  return value && *value == 0 ? 0 : size(key, fallback);
}

double ConfigReader::positive(const std::string& key, double fallback) {
  const json* value = find(key);
  if (!value) return fallback;
  const bool good =
      value->is_number() && std::isfinite(value->get<double>()) && value->get<double>() > 0;
  if (!good) fail(key, "must be a positive number, not " + value->dump());
  return value->get<double>();
}

double ConfigReader::number(const std::string& key, double fallback) {
  const json* value = find(key);
  if (!value) return fallback;
  if (!value->is_number() || !std::isfinite(value->get<double>()))
    fail(key, "must be a finite number, not " + value->dump());
  return value->get<double>();
}

bool ConfigReader::flag(const std::string& key, bool fallback) {
  const json* value = find(key);
  if (!value) return fallback;
  if (!value->is_boolean()) fail(key, "must be true or false, not " + value->dump());
  return value->get<bool>();
}

std::string ConfigReader::text(const std::string& key, const std::string& fallback) {
  const json* value = find(key);
  if (!value) return fallback;
  if (!value->is_string()) fail(key, "must be a string, not " + value->dump());
  return value->get<std::string>();
}

std::vector<std::string> ConfigReader::texts(const std::string& key) {
  const json* value = find(key);
  std::vector<std::string> result;
  if (!value) return result;
  if (!value->is_array()) fail(key, "must be a list of strings, not " + value->dump());
  for (const json& item : *value) {
    if (!item.is_string()) fail(key, "must be a list of strings, not " + value->dump());
    result.push_back(item.get<std::string>());
  }
  return result;
}

std::vector<double> ConfigReader::numbers(const std::string& key) {
  const json* value = find(key);
  std::vector<double> result;
  if (!value) return result;
  if (!value->is_array()) fail(key, "must be a list of numbers, not " + value->dump());
  for (const json& item : *value) {
    if (!item.is_number() && !item.is_boolean())
      fail(key, "must be a list of numbers, not " + value->dump());
    result.push_back(item.get<double>());
  }
  return result;
}

std::vector<int64_t> ConfigReader::ids(const std::string& key) {
  const json* value = find(key);
  std::vector<int64_t> result;
  if (!value) return result;
  for (const json& id : value->is_array() ? *value : json::array({*value})) {
    if (!id.is_number_integer()) fail(key, "must be an id or a list of ids, not " + value->dump());
    result.push_back(id.get<int64_t>());
  }
  return result;
}

ConfigReader ConfigReader::object(const std::string& key) {
  const json* value = find(key);
  if (!value) fail(key, "is missing");
  if (!value->is_object()) fail(key, "must be an object of keys, not " + value->dump());
  return {*value, file_, prefix_ + key + "."};
}

void ConfigReader::expect(const std::string& key, const json& expected) {
  const json* value = find(key);
  if (value && *value != expected)
    fail(key, "is " + value->dump() + "; only " + expected.dump() + " is supported");
}

void ConfigReader::finish() const {
  for (const auto& [key, value] : config_.items()) {
    if (read_.contains(key) || neutral(value) || (prefix_.empty() && kHarmless.contains(key)))
      continue;
    if (key == "quantization_config") {
      throw Error(Location{.file = file_.string()},
                  "key 'quantization_config': quantised weights are not supported",
                  "Save the model with plain float weights.");
    }
    const std::string text = value.dump();
    throw Error(Location{.file = file_.string()},
                "key '" + prefix_ + key + "' is not known to Continuo, and its value " +
                    (text.size() > 60 ? text.substr(0, 60) + "…" : text) +
                    " may change what the model computes",
                "Remove the key if the model does not depend on it.");
  }
}

}  // namespace continuo
