#include "text/tokenizer/training_text.h"

#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/random.h"
#include "core/utf8.h"

namespace continuo {
namespace {

using Json = nlohmann::json;

size_t cut_length(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text.size();
  std::string_view window = text.substr(0, max_bytes);
  if (size_t line = window.rfind('\n'); line != std::string_view::npos) return line + 1;
  if (size_t space = window.rfind(' '); space != std::string_view::npos && space > 0) return space;
  size_t whole = complete_utf8_length(window);
  return whole > 0 ? whole : max_bytes;
}

// Where a reserved character starts and how long it is; length 0 when there is none.
std::pair<size_t, size_t> find_reserved(std::string_view text) {
  std::pair<size_t, size_t> first{text.size(), 0};
  for (std::string_view reserved : {std::string_view("\0", 1), std::string_view("\xE2\x96\x81"),
                                    std::string_view("\xE2\x96\x85")}) {
    size_t at = text.find(reserved);
    if (at < first.first) first = {at, reserved.size()};
  }
  return first;
}

}  // namespace

std::vector<std::string_view> cut_for_training(std::string_view text, size_t max_bytes) {
  std::vector<std::string_view> stretches;
  while (!text.empty()) {
    auto [end, skipped] = find_reserved(text);
    std::string_view usable = text.substr(0, end);
    while (!usable.empty()) {
      size_t length = cut_length(usable, max_bytes);
      stretches.push_back(usable.substr(0, length));
      usable.remove_prefix(length);
    }
    text.remove_prefix(end + skipped);
  }
  return stretches;
}

TrainingText::TrainingText(const TokenizerTrainConfig& config)
    : inputs_(config.inputs),
      max_bytes_(static_cast<size_t>(config.max_sentence_length)),
      sample_(config.sample),
      seed_(static_cast<uint64_t>(config.seed)) {}

bool TrainingText::next(std::string& stretch) {
  while (true) {
    if (ready_.empty() && !read_more()) return false;
    if (ready_.empty()) continue;
    stretch = std::move(ready_.front());
    ready_.pop_front();
    if (sample_ >= 1) return true;
    if (Random(seed_, "tokenizer").uniform(stretches_++) < sample_) return true;
  }
}

// Plain text is gathered line by line up to the length of a stretch, so that line breaks are learnt
// too.
bool TrainingText::read_more() {
  if (!open_) {
    if (next_input_ == inputs_.size()) return false;
    open_next();
  }
  std::string line, text;
  while (read_line(line)) {
    if (!inputs_[next_input_ - 1].fields.empty()) {
      read_row(line);
      return true;
    }
    if (!text.empty() && text.size() + line.size() > max_bytes_) {
      add(text);
      text.clear();
    }
    text += line;
    if (text.size() >= max_bytes_) break;
  }
  add(text);
  return true;
}

void TrainingText::open_next() {
  const std::string& path = inputs_[next_input_++].path;
  stream_ = std::ifstream(path, std::ios::binary);
  if (!stream_) throw Error(Location{.file = path}, "cannot be read");
  line_ = 0;
  open_ = true;
}

// With its line break. Closes the file at its end.
bool TrainingText::read_line(std::string& line) {
  if (!std::getline(stream_, line)) {
    if (stream_.bad()) throw Error(here(), "cannot be read to its end");
    open_ = false;
    return false;
  }
  if (!stream_.eof()) line += '\n';
  ++line_;
  bytes_read_ += static_cast<int64_t>(line.size());
  if (line_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
  if (auto offset = find_invalid_utf8(line)) {
    throw Error(locate_offset(line, *offset, here()), "invalid UTF-8", "convert the file to UTF-8");
  }
  return true;
}

void TrainingText::read_row(const std::string& line) {
  size_t last = line.find_last_not_of(" \t\r\n");
  if (last == std::string::npos) return;
  Json row = parse_json(std::string_view(line).substr(0, last + 1), here());
  if (!row.is_object()) throw Error(here(), "a row must be a JSON object");
  for (const std::string& name : inputs_[next_input_ - 1].fields) {
    auto field = row.find(name);
    if (field == row.end()) {
      std::string present;
      for (const auto& [key, value] : row.items()) present += (present.empty() ? "" : ", ") + key;
      throw Error(here(), fmt::format("field '{}' is missing", name), "the row has: " + present);
    }
    auto refuse = [&]() {
      throw Error(
          here(),
          fmt::format("field '{}' is not text, nor a list of texts or of turns with 'content'",
                      name));
    };
    if (field->is_string()) {
      add(field->get_ref<const std::string&>());
    } else if (field->is_array()) {
      for (const Json& item : *field) {
        const Json* text = &item;
        if (item.is_object() && item.contains("content")) text = &item["content"];
        if (!text->is_string()) refuse();
        add(text->get_ref<const std::string&>());
      }
    } else {
      refuse();
    }
  }
}

void TrainingText::add(std::string_view text) {
  for (std::string_view stretch : cut_for_training(text, max_bytes_)) ready_.emplace_back(stretch);
}

Location TrainingText::here() const {
  return {.file = inputs_[next_input_ - 1].path, .line = line_};
}

}  // namespace continuo
