#include "core/files.h"
#include "core/mapped_file.h"
#include "text/tokenizer/hf_tokenizer.h"
#include "text/tokenizer/post_processor.h"
#include "text/tokenizer/sentencepiece_tokenizer.h"

namespace continuo {

std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  fs::path file = path;
  if (fs::is_directory(path)) {
    file = path / "tokenizer.model";
    if (!fs::exists(file)) file = path / "tokenizer.json";
  }
  if (!fs::exists(file)) {
    if (fs::exists(path)) {
      throw Error(Location{.file = path.string()}, "no tokenizer in this directory",
                  "it must hold tokenizer.model or tokenizer.json; `continuo tokenizer train` "
                  "writes one");
    }
    throw Error(Location{.file = path.string()}, "no such tokenizer",
                "give a directory that holds tokenizer.model or tokenizer.json, or that file");
  }
  // A model under another name may lie beside the settings of a different one.
  bool has_settings = file.filename() == "tokenizer.model" || file.filename() == "tokenizer.json";
  fs::path directory = file.has_parent_path() ? file.parent_path() : fs::path(".");
  HfTokenizerConfig config =
      has_settings ? HfTokenizerConfig::read(directory) : HfTokenizerConfig{};
  if (file.extension() == ".json") {
    // What is mapped stays what it is when another file takes its place.
    const auto mapped = std::make_shared<const MappedFile>(file);
    const auto content = [mapped] {
      std::string text(mapped->text());
      mapped->release(0, mapped->size());
      return text;
    };
    return std::make_shared<HfTokenizer>(content(), std::move(config), file.string(), content);
  }
  const fs::path other = directory / "tokenizer.json";
  if (has_settings && fs::exists(other)) {
    config.add_bos = surrounding_tokens(other).before.size() == 1;
  }
  return std::make_shared<SentencePieceTokenizer>(read_file(file), std::move(config),
                                                  file.string());
}

}  // namespace continuo
