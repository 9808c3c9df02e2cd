#include "data/store_report.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace continuo {

StoreReport& StoreReport::operator+=(const StoreReport& other) {
  rows += other.rows;
  kept += other.kept;
  examples += other.examples;
  tokens += other.tokens;
  trained += other.trained;
  truncated += other.truncated;
  revised += other.revised;
  for (const auto& [reason, count] : other.dropped) dropped[reason] += count;
  return *this;
}

std::string reports_to_json(const std::vector<StoreReport>& reports) {
  nlohmann::json list = nlohmann::json::array();
  for (const StoreReport& r : reports) {
    list.push_back({{"rows", r.rows},
                    {"kept", r.kept},
                    {"examples", r.examples},
                    {"tokens", r.tokens},
                    {"trained", r.trained},
                    {"truncated", r.truncated},
                    {"revised", r.revised},
                    {"dropped", r.dropped}});
  }
  return list.dump();
}

std::vector<StoreReport> reports_from_json(std::string_view text) {
  try {
    std::vector<StoreReport> reports;
    for (const nlohmann::json& item : nlohmann::json::parse(text)) {
      reports.push_back({.rows = item.at("rows"),
                         .kept = item.at("kept"),
                         .examples = item.at("examples"),
                         .tokens = item.at("tokens"),
                         .trained = item.at("trained"),
                         .truncated = item.at("truncated"),
                         .revised = item.at("revised"),
                         .dropped = item.at("dropped")});
    }
    return reports;
  } catch (const nlohmann::json::exception& error) {
    fail("bad report: {}", error.what());
  }
}

std::string summary(const StoreReport& report) {
  std::string text = fmt::format("{} rows", report.rows);
  if (report.truncated > 0) text += fmt::format(", {} truncated", report.truncated);
  int64_t count = 0;
  std::string reasons;
  for (const auto& [reason, rows] : report.dropped) {
    count += rows;
    reasons += fmt::format("{}{} {}", reasons.empty() ? "" : ", ", rows, reason);
  }
  if (count > 0) text += fmt::format(", {} dropped ({})", count, reasons);
  return text;
}

}  // namespace continuo
