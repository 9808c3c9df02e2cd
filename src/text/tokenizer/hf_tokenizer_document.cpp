#include "text/tokenizer/hf_tokenizer_document.h"

#include "core/json_events.h"

namespace continuo {
namespace {

using Json = nlohmann::json;

class DocumentReader : public JsonEvents {
 public:
  DocumentReader(HfTokenizerDocument& document, const Location& where)
      : document_(document), where_(where) {}

  bool null() override { return take(nullptr); }
  bool boolean(bool value) override { return take(value); }
  bool number_integer(number_integer_t value) override { return take(value); }
  bool number_float(number_float_t value, const string_t&) override { return take(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (table_ != Table::kVocabulary || nested_ > 0) return take(value);
    document_.pieces.push_back({std::move(key_), value});
    return true;
  }

  bool string(string_t& value) override {
    if (table_ != Table::kMerges) return take(std::move(value));
    if (nested_ == 0) {
      add_merge(value);
    } else {
      if (nested_ > 1 || ++words_ > 2) refuse_merge();
      if (words_ == 1) pair_.left = value.size();
      pair_.text += value;
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (table_ == Table::kMerges) refuse_merge();
    if (table_ != Table::kNone) return nest();
    Json& object = put(Json::object());
    if (is_model_member("vocab")) {
      table_ = Table::kVocabulary;
      document_.pieces.clear();
    } else {
      open_.push_back(&object);
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (table_ != Table::kNone) return nest();
    Json& array = put(Json::array());
    if (is_model_member("merges")) {
      table_ = Table::kMerges;
      document_.merges.clear();
      entries_ = 0;
    } else {
      open_.push_back(&array);
    }
    return true;
  }

  bool key(string_t& value) override {
    if (nested_ == 0) key_ = std::move(value);
    return true;
  }

  bool end_object() override { return close(); }
  bool end_array() override {
    if (table_ == Table::kMerges && nested_ == 1) {
      if (words_ != 2) refuse_merge();
      pair_.number = entries_++;
      document_.merges.push_back(std::move(pair_));
    }
    return close();
  }

 private:
  enum class Table { kNone, kVocabulary, kMerges };

  // A value that is no entry of a table.
  bool take(Json value) {
    if (table_ == Table::kMerges) refuse_merge();
    if (table_ == Table::kNone) put(std::move(value));
    if (table_ == Table::kVocabulary && nested_ == 0) {
      refuse_id(value.is_number() ? value.dump() : "(no number)");
    }
    return true;
  }

  // A list or an object within a table.
  bool nest() {
    if (table_ == Table::kMerges && nested_ > 0) refuse_merge();
    if (table_ == Table::kVocabulary && nested_ == 0) refuse_id("(no number)");
    ++nested_;
    words_ = 0;
    pair_ = {};
    return true;
  }

  bool close() {
    if (table_ == Table::kNone) {
      open_.pop_back();
    } else if (nested_ > 0) {
      --nested_;
    } else {
      table_ = Table::kNone;
    }
    return true;
  }

  Json& put(Json value) {
    if (open_.empty()) return document_.rest = std::move(value);
    Json& parent = *open_.back();
    if (parent.is_object()) return parent[key_] = std::move(value);
    parent.push_back(std::move(value));
    return parent.back();
  }

  bool is_model_member(std::string_view name) const {
    if (open_.size() != 2 || key_ != name) return false;
    const auto model = document_.rest.find("model");
    return model != document_.rest.end() && &*model == open_.back();
  }

  void refuse_id(std::string value) {
    document_.pieces.push_back({key_, 0});
    if (!document_.no_id) document_.no_id = {key_, std::move(value)};
  }

  // "a b"
  void add_merge(const std::string& text) {
    const size_t number = entries_++;
    if (text.starts_with("#version")) return;
    document_.merges.push_back(HfTokenizerDocument::split_merge(text, number, where_));
  }

  [[noreturn]] void refuse_merge() const {
    throw Error(where_, fmt::format("model.merges[{}] must be two pieces", entries_));
  }

  HfTokenizerDocument& document_;
  const Location& where_;
  std::vector<Json*> open_;  // objects and lists of the tree that are being filled
  std::string key_;
  Table table_ = Table::kNone;
  size_t nested_ = 0;  // lists and objects that are open within a table
  HfTokenizerDocument::Merge pair_;
  size_t words_ = 0, entries_ = 0;
};

}  // namespace

HfTokenizerDocument HfTokenizerDocument::parse(std::string_view json, const Location& where) {
  HfTokenizerDocument document;
  DocumentReader reader(document, where);
  parse_json(json, where, reader);
  return document;
}

HfTokenizerDocument::Merge HfTokenizerDocument::split_merge(std::string_view text, size_t number,
                                                            const Location& where) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
    throw Error(where, fmt::format("model.merges[{}] '{}' is not two pieces with a space between",
                                   number, text));
  }
  std::string both(text.substr(0, space));
  both += text.substr(space + 1);
  return {std::move(both), space, number};
}

// By hand: as values, vocabulary and merges would take ten times the memory of their text.
std::string HfTokenizerDocument::dump() const {
  const auto quoted = [](std::string_view text) { return Json(text).dump(); };
  Json model = rest.at("model"), others = rest;
  others.erase("model");
  model.erase("vocab");
  model.erase("merges");
  std::string text = others.dump();
  text.back() = ',';
  text += R"("model":)" + model.dump();
  text.back() = ',';
  text += R"("vocab":{)";
  for (const Piece& piece : pieces) {
    if (&piece != pieces.data()) text += ',';
    text += quoted(piece.text) + ':' + std::to_string(piece.id);
  }
  text += R"(},"merges":[)";
  const auto separate = [&] {
    if (text.back() != '[') text += ',';
  };
  for (const auto& [both, left, number] : merges) {
    separate();
    text += quoted(both.substr(0, left) + ' ' + both.substr(left));
  }
  for (const auto& [left, right, merged] : known_merges) {
    separate();
    text += '[' + quoted(pieces[static_cast<size_t>(left)].text) + ',' +
            quoted(pieces[static_cast<size_t>(right)].text) + ']';
  }
  return text + "]}}";
}

}  // namespace continuo
