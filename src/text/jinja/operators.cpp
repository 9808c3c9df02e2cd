// Arithmetic, and the functions that every template has.
#include <algorithm>
#include <cmath>
#include <ctime>

#include "core/error.h"
#include "text/jinja/evaluator.h"

namespace continuo::jinja {
namespace {

[[noreturn]] void no_operation(std::string_view op, const Value& a, const Value& b) {
  for (const Value* side : {&a, &b}) {
    if (const auto* undefined = std::get_if<Undefined>(&side->storage())) {
      fail("'{}' is undefined", undefined->name);
    }
  }
  fail("a {} and a {} cannot be combined by '{}'", a.type_name(), b.type_name(), op);
}

int64_t floor_divide(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value whole_arithmetic(char op, bool doubled, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflows = false;
  if ((op == '/' || op == '%') && b == 0) fail("division by zero");
  if (op == '/' && !doubled) return Value(static_cast<double>(a) / static_cast<double>(b));
  if (op == '+') overflows = __builtin_add_overflow(a, b, &result);
  if (op == '-') overflows = __builtin_sub_overflow(a, b, &result);
  if (op == '/' || op == '%') overflows = a == INT64_MIN && b == -1;
  if (op == '/' && !overflows) result = floor_divide(a, b);
  if (op == '%' && !overflows) result = a - floor_divide(a, b) * b;
  if (op == '*' && !doubled) overflows = __builtin_mul_overflow(a, b, &result);
  if (op == '*' && doubled) {
    if (b < 0) return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
    if (b > 64 && a != 0 && a != 1 && a != -1) fail("the number is too large");
    result = 1;
    for (int64_t i = 0; i < (a == -1 ? b % 2 : std::min<int64_t>(b, 64)) && !overflows; ++i) {
      overflows = __builtin_mul_overflow(result, a, &result);
    }
  }
  if (overflows) fail("the number is too large");
  return Value(result);
}

Value real_arithmetic(char op, bool doubled, double a, double b) {
  if ((op == '/' || op == '%') && b == 0) fail("division by zero");
  if (op == '+') return Value(a + b);
  if (op == '-') return Value(a - b);
  if (op == '*') return Value(doubled ? std::pow(a, b) : a * b);
  if (op == '/') return Value(doubled ? std::floor(a / b) : a / b);
  return Value(a - std::floor(a / b) * b);
}

}  // namespace

Value Evaluator::unary(const Expression& e) {
  const Value value = evaluate(*e.items[0]);
  if (e.kind == ExpressionKind::kNot) return Value(!value.truthy());
  const auto whole = value.if_int();
  const auto real = value.if_number();
  if (!real) no_operation(e.kind == ExpressionKind::kNegate ? "-" : "+", value, value);
  if (e.kind == ExpressionKind::kPlus) return whole ? Value(*whole) : Value(*real);
  return whole ? whole_arithmetic('-', false, 0, *whole) : Value(-*real);
}

Value Evaluator::binary(const Expression& e) {
  const Value a = evaluate(*e.items[0]);
  const Value b = evaluate(*e.items[1]);
  place_ = e.place;
  return arithmetic(e.name[0], e.name.size() > 1, a, b);
}

Value Evaluator::arithmetic(char op, bool doubled, const Value& a, const Value& b) {
  if (a.if_number() && b.if_number()) {
    if (a.if_int() && b.if_int()) return whole_arithmetic(op, doubled, *a.if_int(), *b.if_int());
    return real_arithmetic(op, doubled, *a.if_number(), *b.if_number());
  }
  if (op == '+' && a.if_text() && b.if_text()) {
    budget_.spend_text(a.if_text()->size() + b.if_text()->size());
    Text sum = *a.if_text();
    sum.append(*b.if_text());
    return Value(std::move(sum));
  }
  if (op == '+' && a.if_list() && b.if_list() && a.if_list()->tuple == b.if_list()->tuple) {
    std::vector<Value> items = a.if_list()->items;
    items.insert(items.end(), b.if_list()->items.begin(), b.if_list()->items.end());
    budget_.spend(items.size());
    return Value::list(std::move(items), a.if_list()->tuple);
  }
  if (op == '%' && a.if_text()) return percent_format(*a.if_text(), b);
  if (op == '*' && !doubled && b.if_int()) return repeated(a, *b.if_int());
  if (op == '*' && !doubled && a.if_int()) return repeated(b, *a.if_int());
  no_operation(std::string(doubled ? 2 : 1, op), a, b);
}

Value Evaluator::repeated(const Value& value, int64_t count) {
  const auto times = static_cast<size_t>(std::max<int64_t>(count, 0));
  const Text* text = value.if_text();
  const List* list = value.if_list();
  if (!text && !list) no_operation("*", value, Value(count));
  if (times > Budget::kSteps) fail("repeated {} times", times);
  budget_.spend(text ? times * (text->size() / 16 + 1) : times * (list->items.size() + 1));
  Text out;
  std::vector<Value> items;
  for (size_t i = 0; i < times; ++i) {
    if (text) out.append(*text);
    if (list) items.insert(items.end(), list->items.begin(), list->items.end());
  }
  return text ? Value(std::move(out)) : Value::list(std::move(items), list->tuple);
}

// "%s" and "%d".
Value Evaluator::percent_format(const Text& text, const Value& value) {
  std::vector<Value> values{value};
  if (const List* list = value.if_list(); list && list->tuple) values = list->items;
  budget_.spend_text(text.size());
  Text out;
  size_t used = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text.bytes()[at] != '%') {
      out.append(text, at, at + 1);
      continue;
    }
    const char kind = at + 1 < text.size() ? text.bytes()[++at] : ' ';
    if (kind == '%') {
      out.append("%", text.origin(at));
    } else if (kind == 's' || kind == 'd') {
      if (used == values.size()) fail("'%': fewer values than places");
      budget_.spend(values[used].weight());
      out.append(to_text(values[used++]));
    } else {
      fail("'%': only %s and %d are supported");
    }
  }
  if (used < values.size()) fail("'%': more values than places");
  return Value(std::move(out));
}

Value Evaluator::call_function(const Function& function, const Arguments& given) {
  if (function.macro) return call_macro(*function.macro, given);
  if (function.name == "raise_exception") {
    throw Error(given.positional.empty() ? "the template raises an error"
                                         : to_text(given.positional[0]).bytes());
  }
  if (function.name == "range") return range(given);
  if (function.name == "strftime_now") return date(given);
  if (function.name == "namespace") return make_namespace(given);
  std::vector<std::pair<Value, Value>> items;
  if (!given.positional.empty()) {
    if (!given.positional[0].if_dict()) fail("dict() takes a dict and named values");
    items = given.positional[0].if_dict()->items;
  }
  for (const auto& [name, value] : given.named) items.emplace_back(Value::text(name), value);
  budget_.spend(items.size() * items.size() / 4 + 1);
  return Value::dict(std::move(items));
}

Value Evaluator::make_namespace(const Arguments& given) {
  budget_.spend(16);
  Namespace& made = namespaces_.emplace_back();
  if (!given.positional.empty()) {
    const Dict* dict = given.positional[0].if_dict();
    if (!dict) fail("namespace() takes a dict and named values");
    for (const auto& [key, value] : dict->items) made.set(to_text(key).bytes(), value);
  }
  for (const auto& [name, value] : given.named) made.set(name, value);
  return Value(&made);
}

Value Evaluator::range(const Arguments& given) {
  constexpr int64_t kLongestRange = 100'000;
  if (given.positional.empty()) fail("range() needs a number");
  const bool one = given.positional.size() == 1;
  const int64_t begin = one ? 0 : given.integer(0, "start", 0);
  const int64_t end = given.integer(one ? 0 : 1, "stop", 0), step = given.integer(2, "step", 1);
  if (step == 0) fail("range() with the step 0");
  std::vector<Value> numbers;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (std::ssize(numbers) >= kLongestRange)
      fail("range() of more than {} numbers", kLongestRange);
    numbers.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  budget_.spend(numbers.size());
  return Value::list(std::move(numbers));
}

Value Evaluator::date(const Arguments& given) const {
  const std::string format = given.text(0, "format").bytes();
  if (format.size() > 200) fail("strftime_now: the format is too long");
  std::tm day{};
  const std::time_t now = std::time(nullptr);
  localtime_r(&now, &day);
  if (!today_.empty()) {
    std::tm given_day{};
    const char* end = strptime(today_.c_str(), "%Y-%m-%d", &given_day);
    if (!end || *end != '\0') fail("'{}' is not a date like 2026-07-31", today_);
    day = given_day;
    day.tm_isdst = -1;
    std::mktime(&day);
  }
  char text[2048];
  const size_t size = std::strftime(text, sizeof text, format.c_str(), &day);
  return Value::text(std::string(text, size));
}

}  // namespace continuo::jinja
