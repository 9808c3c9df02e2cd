#include "text/tokenizer/hf_tokenizer_file.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/in_parts.h"
#include "text/tokenizer/pattern_field.h"
#include "text/tokenizer/post_processor.h"

namespace continuo {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kSpaceMark = "\u2581";

class Reader {
 public:
  Reader(HfTokenizerDocument document, const Location& where, HfTokenizerFile& file)
      : document_(std::move(document)), where_(where), root_(document_.rest, where_), file_(file) {}

  void run() {
    if (auto version = root_.find("version"); version && version->string() != "1.0") {
      version->fail(fmt::format("is '{}'; 1.0 is supported", version->string()));
    }
    JsonField model = root_.at("model");
    std::string type = model.string("type", model.find("merges") ? "BPE" : "Unigram");
    if (type == "BPE") {
      read_bpe(model);
    } else if (type == "Unigram") {
      read_unigram(model);
    } else {
      model.at("type").fail(fmt::format("'{}' is not a model that is supported", type),
                            "supported are BPE and Unigram");
    }
    if (auto field = root_.find("normalizer")) file_.normalizer = Normalizer(*field);
    if (auto field = root_.find("pre_tokenizer")) file_.pre_tokenizer = PreTokenizer(*field);
    read_space_sign();
    read_decoder();
    read_added();
    if (auto field = root_.find("post_processor")) read_surroundings(field->value());
  }

 private:
  std::optional<TokenId> id_of(std::string_view piece) const {
    return file_.index.find(file_.pieces, piece);
  }

  void index_pieces(const JsonField& vocabulary) {
    if (file_.pieces.empty()) vocabulary.fail("is empty");
    file_.index = StringIndex(file_.pieces.size());
    for (size_t id = 0; id < file_.pieces.size(); ++id) {
      if (file_.index.insert(file_.pieces, static_cast<TokenId>(id))) continue;
      vocabulary.fail(fmt::format("has '{}' twice", file_.pieces[id]));
    }
  }

  void read_bpe(const JsonField& model) {
    file_.model = HfTokenizerFile::Model::kBpe;
    refuse_affix(model, "continuing_subword_prefix");
    refuse_affix(model, "end_of_word_suffix");
    if (auto dropout = model.find("dropout"); dropout && dropout->number() != 0) {
      dropout->fail("makes ids random, which is not supported", "set it to null");
    }
    file_.byte_fallback = model.boolean("byte_fallback", false);
    file_.fuse_unknown = model.boolean("fuse_unk", false);
    file_.ignore_merges = model.boolean("ignore_merges", false);
    read_vocabulary(model.at("vocab"));
    if (auto unknown = model.find("unk_token"); unknown && !unknown->string().empty()) {
      file_.unknown = id_of(unknown->string());
      if (!file_.unknown) unknown->fail(fmt::format("'{}' is not in vocab", unknown->string()));
    }
    read_merges(model.at("merges"));
  }

  static void refuse_affix(const JsonField& model, std::string_view key) {
    auto affix = model.find(key);
    if (affix && !affix->string().empty()) affix->fail("is not supported unless empty");
  }

  void read_vocabulary(const JsonField& vocabulary) {
    if (!vocabulary.value().is_object()) vocabulary.fail("must be an object");
    const size_t size = document_.pieces.size();
    const auto refuse = [&](const std::string& piece, const std::string& id) {
      vocabulary.fail(fmt::format("of {} entries gives '{}' the id {}", size, piece, id),
                      "ids must count up from 0 without holes");
    };
    if (document_.no_id) refuse(document_.no_id->first, document_.no_id->second);
    file_.pieces.resize(size);
    std::vector<bool> taken(size);
    for (auto& [piece, id] : document_.pieces) {
      if (id >= size) refuse(piece, std::to_string(id));
      if (taken[id]) {
        vocabulary.fail(
            fmt::format("gives '{}' and '{}' the same id {}", file_.pieces[id], piece, id));
      }
      taken[id] = true;
      file_.pieces[id] = std::move(piece);
    }
    document_.pieces = {};
    index_pieces(vocabulary);
  }

  void read_merges(const JsonField& merges) {
    if (!merges.value().is_array()) merges.fail("must be an array");
    file_.merges = std::move(document_.known_merges);
    const size_t before = file_.merges.size();
    file_.merges.resize(before + document_.merges.size());
    constexpr size_t kMergesOfAPart = 8192;
    in_parts(document_.merges.size(), kMergesOfAPart, [&](size_t, size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) file_.merges[before + i] = merge_of(document_.merges[i]);
    });
  }

  BpeVocabulary::Merge merge_of(const HfTokenizerDocument::Merge& merge) const {
    const auto known = [&](std::string_view piece) {
      const auto id = id_of(piece);
      if (!id) {
        throw Error(where_, fmt::format("model.merges[{}] needs '{}', which is not in vocab",
                                        merge.number, piece));
      }
      return *id;
    };
    const std::string_view merged = merge.text;
    return {known(merged.substr(0, merge.left)), known(merged.substr(merge.left)), known(merged)};
  }

  void read_unigram(const JsonField& model) {
    file_.model = HfTokenizerFile::Model::kUnigram;
    file_.fuse_unknown = true;
    file_.byte_fallback = model.boolean("byte_fallback", false);
    JsonField vocabulary = model.at("vocab");
    for (size_t id = 0; id < vocabulary.size(); ++id) {
      const Json& entry = vocabulary.value()[id];
      bool pair =
          entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number();
      if (!pair || !std::isfinite(entry[1].get<double>())) {
        vocabulary.item(id).fail("must be a piece and its score");
      }
      file_.pieces.push_back(entry[0].get<std::string>());
      file_.scores.push_back(entry[1].get<double>());
    }
    index_pieces(vocabulary);
    auto unknown = model.find("unk_id");
    if (!unknown) return;
    file_.unknown = unknown->token_id();
    if (static_cast<size_t>(*file_.unknown) >= file_.pieces.size()) {
      unknown->fail("is outside the vocabulary");
    }
  }

  void read_space_sign() {
    const std::string& first = file_.normalizer.space_sign();
    const std::string& second = file_.pre_tokenizer.space_sign();
    if (!first.empty() && !second.empty() && first != second) {
      root_.at("pre_tokenizer").fail("and normalizer replace spaces by different characters");
    }
    file_.space_sign = first.empty() ? second : first;
    if (!file_.space_sign.empty() && file_.pre_tokenizer.byte_level()) {
      root_.at("pre_tokenizer").fail("mixes ByteLevel and replaced spaces, which is not supported");
    }
  }

  void read_decoder() {
    file_.byte_pieces = file_.byte_fallback && !file_.pre_tokenizer.byte_level();
    auto decoder = root_.find("decoder");
    if (!decoder) return;
    for_each_step(*decoder, "decoders", [&](const JsonField& step, const std::string& type) {
      if (type == "Replace") {
        auto pattern = step.at("pattern").find("String");
        std::string_view sign = file_.space_sign.empty() ? kSpaceMark : file_.space_sign;
        if (!pattern || pattern->string() != sign || step.at("content").string() != " ") {
          step.fail("replaces something else than the sign of a space, which is not supported");
        }
      } else if (type == "ByteFallback") {
        file_.byte_pieces = !file_.pre_tokenizer.byte_level();
      } else if (type == "ByteLevel") {
        if (!file_.pre_tokenizer.byte_level()) {
          step.at("type").fail("'ByteLevel' does not fit a pre_tokenizer without it");
        }
      } else if (type != "Fuse" && type != "Strip" && type != "Metaspace") {
        step.at("type").fail(
            fmt::format("'{}' is not a decoder that is supported", type),
            "supported are ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Strip, Sequence");
      }
    });
  }

  void read_added() {
    auto list = root_.find("added_tokens");
    if (!list) return;
    std::vector<std::pair<AddedToken, size_t>> tokens;
    for (size_t i = 0; i < list->size(); ++i) {
      JsonField entry = list->item(i);
      AddedToken token{.text = entry.at("content").string(),
                       .id = entry.at("id").token_id(),
                       .special = entry.boolean("special", false),
                       .single_word = entry.boolean("single_word", false),
                       .lstrip = entry.boolean("lstrip", false),
                       .rstrip = entry.boolean("rstrip", false),
                       .normalized = entry.boolean("normalized", false)};
      if (token.text.empty()) entry.at("content").fail("must not be empty");
      tokens.emplace_back(std::move(token), i);
    }
    std::ranges::stable_sort(tokens, {}, [](const auto& entry) { return entry.first.id; });
    auto next = static_cast<TokenId>(file_.pieces.size());
    for (auto& [token, i] : tokens) {
      JsonField id = list->item(i).at("id");
      if (auto known = id_of(token.text)) {
        if (*known != token.id) {
          id.fail(fmt::format("is {}, but '{}' has the id {}", token.id, token.text, *known));
        }
      } else if (token.id < next) {
        id.fail(fmt::format("{} of '{}' belongs to another token", token.id, token.text));
      } else if (token.id > next) {
        id.fail(fmt::format("{} of '{}' leaves a hole: no token has the id {}", token.id,
                            token.text, next));
      } else {
        ++next;
      }
      file_.added.push_back(std::move(token));
    }
    // Tokens past the model's vocabulary are not in the index: the same text twice shows here.
    for (size_t i = 1; i < file_.added.size(); ++i) {
      for (size_t j = i; j-- > 0 && file_.added[j].id == file_.added[i].id;) {
        list->fail(fmt::format("has the id {} twice", file_.added[i].id));
      }
    }
    std::vector<std::string_view> texts;
    for (const AddedToken& token : file_.added) texts.push_back(token.text);
    std::ranges::sort(texts);
    auto repeated = std::ranges::adjacent_find(texts);
    if (repeated != texts.end()) list->fail(fmt::format("has '{}' twice", *repeated));
  }

  void read_surroundings(const Json& processor) {
    const SurroundingTokens tokens = surrounding_tokens(processor);
    const auto add = [&](const std::vector<std::string>& names, std::vector<TokenId>& ids) {
      for (const std::string& name : names) {
        const auto added = std::ranges::find(file_.added, name, &AddedToken::text);
        const auto id = added != file_.added.end() ? std::optional(added->id) : id_of(name);
        if (id) ids.push_back(*id);
      }
    };
    add(tokens.before, file_.opening);
    add(tokens.behind, file_.closing);
  }

  HfTokenizerDocument document_;
  const Location& where_;
  JsonField root_;
  HfTokenizerFile& file_;
};

}  // namespace

HfTokenizerFile HfTokenizerFile::read(HfTokenizerDocument document, const Location& where) {
  if (!document.rest.is_object()) throw Error(where, "must be a JSON object");
  HfTokenizerFile file;
  Reader(std::move(document), where, file).run();
  return file;
}

}  // namespace continuo
