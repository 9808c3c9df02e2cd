#include "text/tokenizer/regex.h"

#include <cctype>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/error.h"
#include "text/tokenizer/code_points.h"
#include "text/tokenizer/regex_dialect.h"

namespace continuo {
namespace {

struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

// Room for the bounds of a match; one per thread serves every expression.
pcre2_match_data* match_data() {
  thread_local std::unique_ptr<pcre2_match_data, FreeMatchData> data(
      pcre2_match_data_create(1, nullptr));
  return data.get();
}

struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

// What a match may cost before it gives up: backtracking steps, and the interpreter's heap.
pcre2_match_context* match_limits() {
  static const std::unique_ptr<pcre2_match_context, FreeMatchContext> limits = [] {
    std::unique_ptr<pcre2_match_context, FreeMatchContext> made(
        pcre2_match_context_create(nullptr));
    pcre2_set_match_limit(made.get(), 10'000'000);
    pcre2_set_heap_limit(made.get(), 256 * 1024);  // KiB
    return made;
  }();
  return limits.get();
}

std::string message_of(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

bool knows_unicode_16() {
  char version[24] = {};
  if (pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, nullptr) > static_cast<int>(sizeof version)) {
    return false;
  }
  pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version);
  return std::stoi(version) >= 16;
}

}  // namespace

void Regex::Free::operator()(void* code) const { pcre2_code_free(static_cast<pcre2_code*>(code)); }

Regex::Regex(std::string_view pattern) : pattern_(pattern) {
  std::string ours = pcre2_pattern(pattern);
  int fault = 0;
  size_t offset = 0;
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 120);
  code_.reset(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(ours.data()), ours.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C,
      &fault, &offset, context.get()));
  if (!code_) {
    throw Error(fmt::format("the regular expression does not compile: {}", message_of(fault)));
  }
  compiled_ = pcre2_jit_compile(static_cast<pcre2_code*>(code_.get()), PCRE2_JIT_COMPLETE) == 0;
}

Regex Regex::literal(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '\0') {
      escaped += "\\x{0}";
      continue;
    }
    if (byte > ' ' && byte < 0x7F && !std::isalnum(byte)) escaped += '\\';
    escaped += c;
  }
  return Regex(escaped);
}

RegexMatches::RegexMatches(const Regex& regex, std::string_view text) : regex_(regex), text_(text) {
  static const bool current = knows_unicode_16();
  if (!current && !is_ascii(text)) older_ = with_older_characters(text);
}

std::optional<RegexMatches::Match> RegexMatches::next() {
  std::string_view text = older_ ? std::string_view(*older_) : text_;
  auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const auto* code = static_cast<const pcre2_code*>(regex_.code_.get());
  pcre2_match_data* data = match_data();
  pcre2_match_context* limits = match_limits();
  while (from_ <= text.size()) {
    int result = PCRE2_ERROR_JIT_STACKLIMIT;
    if (regex_.compiled_) {
      result = pcre2_jit_match(code, subject, text.size(), from_, PCRE2_NO_UTF_CHECK, data, limits);
    }
    // The interpreter keeps its backtracking points on the heap.
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
      result = pcre2_match(code, subject, text.size(), from_, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                           data, limits);
    }
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      fail("the regular expression '{}' gives up on a text of {} bytes: {}", regex_.pattern_,
           text.size(), message_of(result));
    }
    const size_t* bounds = pcre2_get_ovector_pointer(data);
    Match match{bounds[0], bounds[1]};
    if (match.begin < match.end || match.end != last_end_) {
      from_ = match.end;
      last_end_ = match.end;
      return match;
    }
    if (from_ == text.size()) break;
    from_ += first_code_point(text.substr(from_)).length;
  }
  from_ = text.size() + 1;
  return {};
}

}  // namespace continuo
