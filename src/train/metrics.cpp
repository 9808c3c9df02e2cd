#include "train/metrics.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"

namespace continuo {
namespace {

namespace fs = std::filesystem;

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string json_double(double value) {
  if (std::isnan(value)) return "\"NaN\"";
  if (std::isinf(value)) return value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  std::string digits = fmt::format("{}", value);
  // Readers that infer types must not see integers in a column of numbers.
  if (digits.find_first_of(".e") == std::string::npos) digits += ".0";
  return digits;
}

std::string json_value(const MetricValue& value) {
  if (const auto* number = std::get_if<double>(&value)) return json_double(*number);
  if (const auto* integer = std::get_if<int64_t>(&value)) return fmt::format("{}", *integer);
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  return json_string(std::get<std::string>(value));
}

std::optional<int64_t> step_in_line(const std::string& line) {
  const auto row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!row.is_object()) return {};
  const auto step = row.find("step");
  if (step == row.end() || !step->is_number_integer()) return {};
  return step->get<int64_t>();
}

// Copies the lines before `resume_at` into a new file, which then takes the place of the old one.
void keep_lines_before(const fs::path& path, int64_t resume_at) {
  std::ifstream lines(path, std::ios::binary);
  if (!lines) fail("cannot read {}: {}", path.string(), std::strerror(errno));
  AtomicFile kept(path);
  int unreadable = 0;
  for (std::string line; std::getline(lines, line);) {
    const bool torn = lines.eof();  // no newline: the process died while writing it
    const std::optional<int64_t> step = step_in_line(line);
    if (!step && !torn) ++unreadable;
    if (step && !torn && *step < resume_at) kept.write(line + '\n');
  }
  if (lines.bad()) fail("cannot read {}: {}", path.string(), std::strerror(errno));
  kept.commit();
  if (unreadable > 0) log_warning("{}: removed {} unreadable lines", path.string(), unreadable);
}

}  // namespace

MetricsLog::MetricsLog(fs::path path, std::optional<int64_t> resume_at) : path_(std::move(path)) {
  if (resume_at && fs::exists(path_)) {
    keep_lines_before(path_, *resume_at);
  } else {
    atomic_write(path_, "");
  }
  fd_ = FileDescriptor(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (fd_.get() < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
}

void MetricsLog::write(int64_t step, const Metrics& metrics) {
  const std::string line = metrics_line(step, metrics) + '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd_.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write {}: {}", path_.string(), std::strerror(errno));
    rest.remove_prefix(static_cast<size_t>(written));
  }
}

void MetricsLog::sync() {
  if (::fsync(fd_.get()) != 0)
    fail("cannot flush {} to disk: {}", path_.string(), std::strerror(errno));
}

std::string metrics_line(int64_t step, const Metrics& metrics) {
  std::string line = fmt::format("{{\"step\":{}", step);
  for (const auto& [name, value] : metrics)
    line += ',' + json_string(name) + ':' + json_value(value);
  return line + '}';
}

}  // namespace continuo
