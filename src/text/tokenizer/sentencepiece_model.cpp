#include "text/tokenizer/sentencepiece_model.h"

#include <cmath>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "core/utf8.h"

namespace continuo {
namespace {

// Field numbers of sentencepiece_model.proto.
constexpr uint64_t kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3, kDenormalizerSpec = 5;
constexpr uint64_t kPieceText = 1, kPieceScore = 2, kPieceType = 3;
constexpr uint64_t kModelType = 3, kWhitespaceAsSuffix = 24;
constexpr uint64_t kCharsmap = 2, kAddDummyPrefix = 3, kRemoveExtraWhitespaces = 4,
                   kEscapeWhitespaces = 5;

struct WireField {
  uint64_t number = 0;
  int type = 0;            // 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes
  uint64_t value = 0;      // varint
  std::string_view bytes;  // the other types
  size_t offset = 0;       // of the value, from the start of the file
};

// The fields of one message (protobuf.dev/programming-guides/encoding).
class WireReader {
 public:
  WireReader(std::string_view bytes, size_t offset, const Location& where)
      : bytes_(bytes), base_(offset), where_(where) {}

  std::optional<WireField> next() {
    if (at_ == bytes_.size()) return {};
    WireField field;
    uint64_t key = varint();
    field.number = key >> 3;
    field.type = static_cast<int>(key & 7);
    field.offset = base_ + at_;
    switch (field.type) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.bytes = take(8);
        break;
      case 2: {
        uint64_t size = varint();
        field.offset = base_ + at_;
        field.bytes = take(size);
        break;
      }
      case 5:
        field.bytes = take(4);
        break;
      default:
        broken();
    }
    if (field.number == 0) broken();
    return field;
  }

  [[noreturn]] void broken() const {
    throw Error(where_,
                fmt::format("not a SentencePiece model, or damaged (at byte {})", base_ + at_),
                "expected a tokenizer.model written by SentencePiece; copy it again");
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) broken();
      auto byte = static_cast<uint8_t>(bytes_[at_++]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    broken();
  }

  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - at_) broken();
    std::string_view result = bytes_.substr(at_, size);
    at_ += size;
    return result;
  }

  std::string_view bytes_;
  size_t base_, at_ = 0;
  const Location& where_;
};

SentencePieceModel::Piece read_piece(const WireField& message, const Location& where) {
  SentencePieceModel::Piece piece;
  WireReader reader(message.bytes, message.offset, where);
  while (auto field = reader.next()) {
    if (field->number == kPieceText && field->type == 2) {
      piece.text = field->bytes;
    } else if (field->number == kPieceScore && field->type == 5) {
      std::memcpy(&piece.score, field->bytes.data(), sizeof piece.score);
    } else if (field->number == kPieceType && field->type == 0) {
      if (field->value < 1 || field->value > 6) reader.broken();
      piece.type = static_cast<SentencePieceModel::Type>(field->value);
      piece.type_offset = field->offset;
    }
  }
  return piece;
}

void read_trainer(const WireField& message, const Location& where, SentencePieceModel& model) {
  WireReader reader(message.bytes, message.offset, where);
  while (auto field = reader.next()) {
    if (field->type != 0) continue;
    if (field->number == kModelType) model.model_type = static_cast<int>(field->value);
    if (field->number == kWhitespaceAsSuffix) model.whitespace_as_suffix = field->value != 0;
  }
}

void read_normalizer(const WireField& message, const Location& where, SentencePieceModel& model) {
  WireReader reader(message.bytes, message.offset, where);
  while (auto field = reader.next()) {
    if (field->number == kCharsmap && field->type == 2) {
      model.has_normalization = !field->bytes.empty();
    } else if (field->type == 0) {
      if (field->number == kAddDummyPrefix) model.add_dummy_prefix = field->value != 0;
      if (field->number == kRemoveExtraWhitespaces) {
        model.remove_extra_whitespaces = field->value != 0;
      }
      if (field->number == kEscapeWhitespaces) model.escape_whitespaces = field->value != 0;
    }
  }
}

bool has_charsmap(const WireField& message, const Location& where) {
  SentencePieceModel scratch;
  read_normalizer(message, where, scratch);
  return scratch.has_normalization;
}

void check(const SentencePieceModel& model, const Location& where) {
  auto broken = [&](const std::string& what) {
    throw Error(where, "damaged SentencePiece model: " + what);
  };
  if (model.pieces.empty()) broken("it has no pieces");
  if (model.model_type < 1 || model.model_type > 4) {
    broken(fmt::format("model type {} is not known", model.model_type));
  }
  std::unordered_set<std::string_view> seen;
  int unknown = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    if (piece.text.empty()) broken(fmt::format("piece {} is empty", id));
    if (find_invalid_utf8(piece.text)) broken(fmt::format("piece {} is not UTF-8", id));
    if (!std::isfinite(piece.score)) broken(fmt::format("the score of piece {} is not finite", id));
    if (!seen.insert(piece.text).second) {
      broken(fmt::format("piece {} repeats '{}'", id, piece.text));
    }
    unknown += piece.type == SentencePieceModel::Type::kUnknown;
  }
  if (unknown != 1) broken(fmt::format("{} unknown pieces instead of one", unknown));
}

}  // namespace

SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const Location& where) {
  SentencePieceModel model;
  WireReader reader(bytes, 0, where);
  while (auto field = reader.next()) {
    if (field->type != 2) continue;
    if (field->number == kPieces) model.pieces.push_back(read_piece(*field, where));
    if (field->number == kTrainerSpec) read_trainer(*field, where, model);
    if (field->number == kNormalizerSpec) read_normalizer(*field, where, model);
    if (field->number == kDenormalizerSpec) {
      model.has_denormalization = model.has_denormalization || has_charsmap(*field, where);
    }
  }
  check(model, where);
  return model;
}

std::string without_dummy_prefix(std::string_view bytes) {
  // A message field that occurs again is merged into the first by every protobuf reader, so
  // appending overrides.
  constexpr char kOverride[] = {(kNormalizerSpec << 3) | 2,   4, kAddDummyPrefix << 3, 0,
                                kRemoveExtraWhitespaces << 3, 0};
  return std::string(bytes).append(kOverride, sizeof kOverride);
}

}  // namespace continuo
