#include "text/tokenizer/code_points.h"

#include <algorithm>
#include <iterator>

#include <utf8proc.h>

namespace continuo {
namespace {

// Kinds of new characters, each with older ones of the same category: three bytes long, four bytes.
struct Kind {
  uint32_t three, four;
};
constexpr Kind kUpper{0x1E00, 0x10400}, kLower{0x1E01, 0x10428}, kModifier{0x1D2C, 0x16B40},
    kLetter{0x1401, 0x10000}, kHan{0x4E00, 0x20000}, kMark{0x1DC0, 0x10A01},
    kSpacing{0x0903, 0x11000}, kDigit{0x0966, 0x104A0}, kNumber{0x2460, 0x10107},
    kOther{0x2020, 0x10100}, kDash{0x2010, 0x10EAD}, kMath{0x2200, 0x1D6C1},
    kSymbol{0x2300, 0x1F300}, kFormat{0x200B, 0x13430};

struct CodePointRange {
  uint32_t first, last;
  const Kind* kind;
};

// What Unicode 15.0, 15.1 and 16.0 added.
constexpr CodePointRange kNew[] = {
    {0x897, 0x897, &kMark},         {0xCF3, 0xCF3, &kSpacing},      {0xECE, 0xECE, &kMark},
    {0x1B4E, 0x1B4F, &kOther},      {0x1B7F, 0x1B7F, &kOther},      {0x1C89, 0x1C89, &kUpper},
    {0x1C8A, 0x1C8A, &kLower},      {0x2427, 0x2429, &kSymbol},     {0x2FFC, 0x2FFF, &kSymbol},
    {0x31E4, 0x31E5, &kSymbol},     {0x31EF, 0x31EF, &kSymbol},     {0xA7CB, 0xA7CC, &kUpper},
    {0xA7CD, 0xA7CD, &kLower},      {0xA7DA, 0xA7DA, &kUpper},      {0xA7DB, 0xA7DB, &kLower},
    {0xA7DC, 0xA7DC, &kUpper},      {0x105C0, 0x105F3, &kLetter},   {0x10D40, 0x10D49, &kDigit},
    {0x10D4A, 0x10D4D, &kLetter},   {0x10D4E, 0x10D4E, &kModifier}, {0x10D4F, 0x10D4F, &kLetter},
    {0x10D50, 0x10D65, &kUpper},    {0x10D69, 0x10D6D, &kMark},     {0x10D6E, 0x10D6E, &kDash},
    {0x10D6F, 0x10D6F, &kModifier}, {0x10D70, 0x10D85, &kLower},    {0x10D8E, 0x10D8F, &kMath},
    {0x10EC2, 0x10EC4, &kLetter},   {0x10EFC, 0x10EFF, &kMark},     {0x1123F, 0x11240, &kLetter},
    {0x11241, 0x11241, &kMark},     {0x11380, 0x11389, &kLetter},   {0x1138B, 0x1138B, &kLetter},
    {0x1138E, 0x1138E, &kLetter},   {0x11390, 0x113B5, &kLetter},   {0x113B7, 0x113B7, &kLetter},
    {0x113B8, 0x113BA, &kSpacing},  {0x113BB, 0x113C0, &kMark},     {0x113C2, 0x113C2, &kSpacing},
    {0x113C5, 0x113C5, &kSpacing},  {0x113C7, 0x113CA, &kSpacing},  {0x113CC, 0x113CD, &kSpacing},
    {0x113CE, 0x113CE, &kMark},     {0x113CF, 0x113CF, &kSpacing},  {0x113D0, 0x113D0, &kMark},
    {0x113D1, 0x113D1, &kLetter},   {0x113D2, 0x113D2, &kMark},     {0x113D3, 0x113D3, &kLetter},
    {0x113D4, 0x113D5, &kOther},    {0x113D7, 0x113D8, &kOther},    {0x113E1, 0x113E2, &kMark},
    {0x116D0, 0x116E3, &kDigit},    {0x11B00, 0x11B09, &kOther},    {0x11BC0, 0x11BE0, &kLetter},
    {0x11BE1, 0x11BE1, &kOther},    {0x11BF0, 0x11BF9, &kDigit},    {0x11F00, 0x11F01, &kMark},
    {0x11F02, 0x11F02, &kLetter},   {0x11F03, 0x11F03, &kSpacing},  {0x11F04, 0x11F10, &kLetter},
    {0x11F12, 0x11F33, &kLetter},   {0x11F34, 0x11F35, &kSpacing},  {0x11F36, 0x11F3A, &kMark},
    {0x11F3E, 0x11F3F, &kSpacing},  {0x11F40, 0x11F40, &kMark},     {0x11F41, 0x11F41, &kSpacing},
    {0x11F42, 0x11F42, &kMark},     {0x11F43, 0x11F4F, &kOther},    {0x11F50, 0x11F59, &kDigit},
    {0x11F5A, 0x11F5A, &kMark},     {0x1342F, 0x1342F, &kLetter},   {0x13439, 0x1343F, &kFormat},
    {0x13440, 0x13440, &kMark},     {0x13441, 0x13446, &kLetter},   {0x13447, 0x13455, &kMark},
    {0x13460, 0x143FA, &kLetter},   {0x16100, 0x1611D, &kLetter},   {0x1611E, 0x16129, &kMark},
    {0x1612A, 0x1612C, &kSpacing},  {0x1612D, 0x1612F, &kMark},     {0x16130, 0x16139, &kDigit},
    {0x16D40, 0x16D42, &kModifier}, {0x16D43, 0x16D6A, &kLetter},   {0x16D6B, 0x16D6C, &kModifier},
    {0x16D6D, 0x16D6F, &kOther},    {0x16D70, 0x16D79, &kDigit},    {0x18CFF, 0x18CFF, &kLetter},
    {0x1B132, 0x1B132, &kLetter},   {0x1B155, 0x1B155, &kLetter},   {0x1CC00, 0x1CCEF, &kSymbol},
    {0x1CCF0, 0x1CCF9, &kDigit},    {0x1CD00, 0x1CEB3, &kSymbol},   {0x1D2C0, 0x1D2D3, &kNumber},
    {0x1DF25, 0x1DF2A, &kLower},    {0x1E030, 0x1E06D, &kModifier}, {0x1E08F, 0x1E08F, &kMark},
    {0x1E4D0, 0x1E4EA, &kLetter},   {0x1E4EB, 0x1E4EB, &kModifier}, {0x1E4EC, 0x1E4EF, &kMark},
    {0x1E4F0, 0x1E4F9, &kDigit},    {0x1E5D0, 0x1E5ED, &kLetter},   {0x1E5EE, 0x1E5EF, &kMark},
    {0x1E5F0, 0x1E5F0, &kLetter},   {0x1E5F1, 0x1E5FA, &kDigit},    {0x1E5FF, 0x1E5FF, &kOther},
    {0x1F6DC, 0x1F6DC, &kSymbol},   {0x1F774, 0x1F776, &kSymbol},   {0x1F77B, 0x1F77F, &kSymbol},
    {0x1F7D9, 0x1F7D9, &kSymbol},   {0x1F8B2, 0x1F8BB, &kSymbol},   {0x1F8C0, 0x1F8C1, &kSymbol},
    {0x1FA75, 0x1FA77, &kSymbol},   {0x1FA87, 0x1FA89, &kSymbol},   {0x1FA8F, 0x1FA8F, &kSymbol},
    {0x1FAAD, 0x1FAAF, &kSymbol},   {0x1FABB, 0x1FABF, &kSymbol},   {0x1FAC6, 0x1FAC6, &kSymbol},
    {0x1FACE, 0x1FACF, &kSymbol},   {0x1FADA, 0x1FADC, &kSymbol},   {0x1FADF, 0x1FADF, &kSymbol},
    {0x1FAE8, 0x1FAE9, &kSymbol},   {0x1FAF7, 0x1FAF8, &kSymbol},   {0x1FBCB, 0x1FBEF, &kSymbol},
    {0x2B739, 0x2B739, &kHan},      {0x2EBF0, 0x2EE5D, &kHan},      {0x31350, 0x323AF, &kHan},
};

struct Span {
  uint32_t first, last;
};
// What Unicode 10 to 14 added, as far as it combines, decomposes or composes.
constexpr Span kNewInForms[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},
    {0xA82C, 0xA82C},   {0xAB69, 0xAB69},   {0x10781, 0x107BA}, {0x10D24, 0x10D27},
    {0x10EAB, 0x10EAC}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070},
    {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11930},
    {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99},
    {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x16FF0, 0x16FF1},
    {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1F16C, 0x1F16C},
    {0x1FBF0, 0x1FBF9},
};

const CodePointRange* find_new(uint32_t code_point) {
  if (code_point < kNew[0].first) return nullptr;
  const CodePointRange* found =
      std::ranges::lower_bound(kNew, code_point, {}, &CodePointRange::last);
  if (found == std::end(kNew) || code_point < found->first) return nullptr;
  return found;
}

// A character of Unicode 14 that behaves like this one.
uint32_t older(uint32_t code_point) {
  const CodePointRange* found = find_new(code_point);
  if (!found) return code_point;
  const Kind& kind = *found->kind;
  return code_point < 0x10000 ? kind.three : kind.four;
}

void append_utf8(uint32_t code_point, std::string& out) {
  utf8proc_uint8_t bytes[4];
  utf8proc_ssize_t length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

utf8proc_category_t category(uint32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(older(code_point)));
}

}  // namespace

CodePoint first_code_point(std::string_view text) {
  auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  uint32_t first = at(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xE0) return {(first & 0x1Fu) << 6 | (at(1) & 0x3Fu), 2};
  if (first < 0xF0) return {(first & 0xFu) << 12 | (at(1) & 0x3Fu) << 6 | (at(2) & 0x3Fu), 3};
  return {(first & 7u) << 18 | (at(1) & 0x3Fu) << 12 | (at(2) & 0x3Fu) << 6 | (at(3) & 0x3Fu), 4};
}

CodePoint last_code_point(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return first_code_point(text.substr(begin));
}

bool is_ascii(std::string_view text) {
  uint8_t all = 0;
  for (char c : text) all |= static_cast<uint8_t>(c);
  return all < 0x80;
}

bool is_white_space(uint32_t c) {
  return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_numeric(uint32_t code_point) {
  if (code_point < 0x80) return code_point >= '0' && code_point <= '9';
  utf8proc_category_t kind = category(code_point);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_NO;
}

bool is_word(uint32_t c) {
  bool circled_letter = (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
                        (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
  if (circled_letter || c == 0x200C || c == 0x200D) return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

bool later_than_normal_forms(uint32_t code_point) {
  if (code_point < kNewInForms[0].first) return false;
  const Span* span = std::ranges::lower_bound(kNewInForms, code_point, {}, &Span::last);
  return (span != std::end(kNewInForms) && code_point >= span->first) || find_new(code_point);
}

std::optional<std::string> with_older_characters(std::string_view text) {
  std::string result;
  size_t copied = 0;
  for (size_t at = 0; at < text.size();) {
    CodePoint point = first_code_point(text.substr(at));
    if (find_new(point.value)) {
      result += text.substr(copied, at - copied);
      append_utf8(older(point.value), result);
      copied = at + point.length;
    }
    at += point.length;
  }
  if (copied == 0) return {};
  result += text.substr(copied);
  return result;
}

}  // namespace continuo
