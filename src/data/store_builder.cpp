#include "data/store_builder.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <thread>

#include "core/error.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "data/example_builder.h"
#include "data/ordered_workers.h"
#include "data/row_parser.h"
#include "data/row_reader.h"
#include "data/store_file.h"
#include "text/prompt/record_encoding.h"

namespace continuo {
namespace {

// Enough text for a thread to be busy for a while, little enough to keep memory flat.
constexpr size_t kBlockRows = 256;
constexpr size_t kBlockBytes = 256 << 10;

struct Block {
  std::vector<RawRow> rows;
  int64_t bytes = 0;  // of the file, read so far
};

struct RowOutcome {
  int64_t line = 0;
  bool elsewhere = false;  // belongs to the other half of a split
  bool revised = false;
  std::optional<RowFault> fault;
  BuiltRow built;
};

struct BlockOutcome {
  std::vector<RowOutcome> rows;
  int64_t bytes = 0;
};

// How the rows of one source become examples.
class SourceJob {
 public:
  SourceJob(const StorePlan& plan, const DataSource& source, const Tokenizer& tokenizer,
            const PromptTemplate& prompt)
      : plan_(plan),
        tokenizer_(tokenizer),
        prompt_(prompt),
        parser_(source, prompt),
        builder_(plan.context, plan.overlong, tokenizer.bos()) {}

  BlockOutcome work(const Block& block) const {
    BlockOutcome outcome;
    outcome.bytes = block.bytes;
    for (const RawRow& row : block.rows) outcome.rows.push_back(work(row));
    return outcome;
  }

 private:
  RowOutcome work(const RawRow& row) const {
    RowOutcome outcome;
    outcome.line = row.line;
    auto parsed = parser_.parse(row.text);
    if (auto* fault = std::get_if<RowFault>(&parsed)) return faulty(outcome, std::move(*fault));
    auto encoded =
        encode_record(tokenizer_, prompt_, std::get<Record>(parsed),
                      [this](std::span<const Segment> segments) { return wanted(segments); });
    if (auto* refused = std::get_if<RefusedRecord>(&encoded)) {
      return faulty(outcome, {"refused by the template", std::move(refused->message), ""});
    }
    auto& record = std::get<EncodedRecord>(encoded);
    outcome.revised = record.revised;
    outcome.elsewhere = record.unwanted;
    if (!record.unwanted) {
      outcome.built = builder_.build(std::move(record.tokens), parser_.plain_text());
    }
    return outcome;
  }

  RowOutcome faulty(RowOutcome outcome, RowFault fault) const {
    outcome.fault = std::move(fault);
    // Without its text nobody can say which half it belongs to: the training half counts it.
    outcome.elsewhere = plan_.split == Split::kEval;
    return outcome;
  }

  bool wanted(std::span<const Segment> segments) const {
    return plan_.split == Split::kAll ||
           held_out(segments, plan_.eval_share) == (plan_.split == Split::kEval);
  }

  const StorePlan& plan_;
  const Tokenizer& tokenizer_;
  const PromptTemplate& prompt_;
  RowParser parser_;
  ExampleBuilder builder_;
};

Block read_block(RowReader& reader) {
  Block block;
  size_t bytes = 0;
  while (block.rows.size() < kBlockRows && bytes < kBlockBytes) {
    auto row = reader.next();
    if (!row) break;
    bytes += row->text.size();
    block.rows.push_back(std::move(*row));
  }
  block.bytes = reader.bytes();
  return block;
}

Location place(const DataSource& source, int64_t line, int64_t column = 0) {
  return {display_path(source.path), static_cast<int>(line), static_cast<int>(column)};
}

// What the sources of a store have in common.
struct StoreBuild {
  const StorePlan& plan;
  const Tokenizer& tokenizer;
  const PromptTemplate& prompt;
  int64_t threads;
  StoreWriter& writer;
  Progress& progress;
};

// Writes the examples of a block and accounts for its rows. Throws on what the settings do not
// tolerate.
void take_block(const StoreBuild& build, int64_t source, const BlockOutcome& block,
                StoreReport& report) {
  const StorePlan& plan = build.plan;
  const DataSource& file = plan.sources[static_cast<size_t>(source)];
  for (const RowOutcome& row : block.rows) {
    if (row.fault && plan.faulty_rows == FaultyRows::kFail) {
      throw Error(place(file, row.line + row.fault->line, row.fault->column), row.fault->message,
                  row.fault->hint);
    }
    if (row.elsewhere) continue;
    ++report.rows;
    report.revised += row.revised;
    if (row.fault) {
      ++report.dropped[row.fault->reason];
      continue;
    }
    if (!row.built.overlong.empty()) {
      throw Error(place(file, row.line), row.built.overlong,
                  "raise the context length, or set `overlong` to drop or truncate_prompt_left");
    }
    if (row.built.examples.empty()) {
      ++report.dropped[row.built.dropped];
      continue;
    }
    ++report.kept;
    report.truncated += row.built.truncated;
    for (size_t i = 0; i < row.built.examples.size(); ++i) {
      const MaskedTokens& example = row.built.examples[i];
      build.writer.add(example, source, row.line, row.built.grouped && i > 0);
      ++report.examples;
      report.tokens += static_cast<int64_t>(example.tokens.size());
      report.trained += std::count(example.trained.begin(), example.trained.end(), 1);
    }
  }
}

StoreReport build_source(const StoreBuild& build, int64_t index, int64_t bytes_before) {
  const DataSource& source = build.plan.sources[static_cast<size_t>(index)];
  const SourceJob job(build.plan, source, build.tokenizer, build.prompt);
  RowReader reader(source);
  StoreReport report;
  OrderedWorkers<Block, BlockOutcome> workers(
      build.threads, [&job](const Block& block) { return job.work(block); });
  const size_t most = static_cast<size_t>(build.threads) * 3;
  bool finished = false;
  // A file that cannot be read on is reported after the rows before it, whatever the number of
  // threads.
  std::exception_ptr read_error;
  for (;;) {
    while (!finished && workers.pending() < most) {
      try {
        Block block = read_block(reader);
        finished = block.rows.empty();
        if (!finished) workers.submit(std::move(block));
      } catch (const Error&) {
        read_error = std::current_exception();
        finished = true;
      }
    }
    if (workers.pending() == 0) break;
    if (interrupted()) fail("interrupted while tokenizing; nothing was kept of it");
    const BlockOutcome block = workers.take();
    take_block(build, index, block, report);
    build.progress.update(bytes_before + block.bytes);
  }
  if (read_error) std::rethrow_exception(read_error);
  return report;
}

}  // namespace

bool held_out(std::span<const Segment> segments, double share) {
  Hasher hasher;
  hasher.update_sized("eval split");
  for (const Segment& segment : segments) {
    hasher.update_sized(segment.text);
    hasher.update(uint64_t{segment.trained} | uint64_t{segment.special} << 1);
  }
  const uint64_t bits = std::stoull(hasher.hex().substr(0, 16), nullptr, 16);
  return static_cast<double>(bits >> 11) * 0x1p-53 < share;
}

void build_store(const StorePlan& plan, const Tokenizer& tokenizer, const PromptTemplate& prompt,
                 const std::filesystem::path& path, const std::string& key) {
  const int64_t cores = std::max(1U, std::thread::hardware_concurrency());
  const int64_t threads = plan.threads > 0 ? plan.threads : cores;
  std::vector<int64_t> begins = {0};
  for (const DataSource& source : plan.sources) {
    begins.push_back(begins.back() + static_cast<int64_t>(std::filesystem::file_size(source.path)));
  }
  StoreWriter writer(path, key);
  Progress progress({.title = plan.split == Split::kEval ? "Tokenizing (held out)" : "Tokenizing",
                     .total = begins.back(),
                     .unit = "bytes"});
  const StoreBuild build = {.plan = plan,
                            .tokenizer = tokenizer,
                            .prompt = prompt,
                            .threads = threads,
                            .writer = writer,
                            .progress = progress};
  std::vector<StoreReport> reports;
  for (size_t i = 0; i < plan.sources.size(); ++i) {
    reports.push_back(build_source(build, static_cast<int64_t>(i), begins[i]));
  }
  writer.commit(reports);
  progress.finish();
}

}  // namespace continuo
