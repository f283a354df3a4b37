#include "worker/view_reader.h"

#include <algorithm>
#include <charconv>
#include <exception>
#include <limits>
#include <utility>

namespace millrace {
namespace {

StateSlice slice_of(const wire::ReadView& request, const std::string& prefix) {
  StateSlice slice;
  for (const wire::CheckpointFile& file : request.files) {
    if (file.name.empty() || file.entries == 0) continue;
    StateSlice::Source& source = slice.sources.emplace_back();
    source.file = {file.name, static_cast<uint64_t>(file.size), static_cast<uint64_t>(file.hash),
                   static_cast<uint64_t>(file.entries)};
    for (const int32_t partition : file.partitions) source.partitions.emplace_back(partition);
    std::ranges::sort(source.partitions);
  }
  slice.prefix = prefix + request.prefix;
  if (request.__isset.after) slice.after = prefix + request.after;
  slice.most_entries = static_cast<size_t>(std::clamp(request.limit, 1, 1000));
  return slice;
}

// The entries as the table shows them, ascending by key.
Result<std::vector<SinkEntry>> shown(const Job& job, size_t table, const StateRun& run) {
  try {
    const std::unique_ptr<StateTable> scratch = job.make_state_table();
    for (size_t index = 0; index < run.size(); ++index) {
      if (Status restored = scratch->restore(run[index], true); !restored) return std::unexpected(restored.error());
    }
    std::vector<SinkEntry> entries = scratch->take_unpublished(false);
    std::erase_if(entries, [&](const SinkEntry& entry) { return entry.table != table; });
    std::ranges::sort(entries, {}, &SinkEntry::key);
    if (entries.size() == run.size()) return entries;
    return fail(ErrorCode::kInternal, "of " + std::to_string(run.size()) + " keys of the checkpoint the table shows " +
                                          std::to_string(entries.size()));
  } catch (const std::exception& thrown) {
    return fail(ErrorCode::kInternal, std::string("the job's code threw while it showed values: ") + thrown.what());
  }
}

void set_problem(wire::ViewReply& answer, const Error& error) {
  answer.problem = error.message;
  answer.gone = error.code == ErrorCode::kNotFound;
  answer.final = error.code == ErrorCode::kInvalid;
}

}  // namespace

// What is known so far of one who wants totals.
struct ViewReader::Sums {
  size_t table = 0;
  std::string prefix;
  StateSlice slice;  // what comes next
  wire::ViewReply answer;
  Reply reply;

  // On the store's thread, while nobody else looks at it.
  void add(const SinkEntry& entry) {
    ++answer.keys;
    int64_t value = 0;
    const char* const end = entry.text.data() + entry.text.size();
    const auto read = std::from_chars(entry.text.data(), end, value);
    const bool is_integer = read.ec == std::errc() && read.ptr == end;
    if (!is_integer || __builtin_add_overflow(answer.sum, value, &answer.sum)) answer.__isset.sum = false;
  }
};

void ViewReader::read(const wire::ReadView& request, Reply reply) {
  wire::ViewReply answer;
  answer.id = request.id;
  if (open_ >= kMaxOpen) {
    answer.problem = "too many pages are being read; try again later";
    return reply(answer);
  }
  const auto table = static_cast<size_t>(request.table);
  if (request.table < 0 || table >= job_->tables().size()) {
    answer.problem = "the job has no table of this number here; ask again";
    return reply(answer);
  }
  auto known = prefixes_.find(table);
  if (known == prefixes_.end()) {
    known = prefixes_.emplace(table, job_->make_state_table()->checkpoint_prefix(table)).first;
  }
  const std::optional<std::string>& prefix = known->second;
  if (!prefix) {
    answer.problem = "table '" + job_->tables()[table].name +
                     "' is one of windows, or an index, which checkpoints do not hold key by key; ask for single keys";
    answer.final = true;
    return reply(answer);
  }
  ++open_;
  if (!request.totals) return read_page(request, slice_of(request, *prefix), std::move(reply));
  auto sums = std::make_shared<Sums>();
  sums->table = table;
  sums->slice = slice_of(request, *prefix);
  sums->slice.most_entries = kTotalsStep;
  sums->answer = std::move(answer);
  sums->answer.__set_sum(0);
  sums->reply = std::move(reply);
  add_up(std::move(sums));
}

void ViewReader::read_page(const wire::ReadView& request, StateSlice slice, Reply reply) {
  auto answer = std::make_shared<wire::ViewReply>();
  answer->id = request.id;
  const auto show = [answer, job = job_, table = static_cast<size_t>(request.table)](StateRun& run) -> Status {
    Result<std::vector<SinkEntry>> entries = shown(*job, table, run);
    if (!entries) return std::unexpected(entries.error());
    answer->entries.clear();
    size_t bytes = 0;
    for (SinkEntry& entry : *entries) {
      bytes += entry.key.size() + entry.text.size();
      answer->more = bytes > kMostShownBytes && !answer->entries.empty();
      if (answer->more) break;
      if (bytes > kMaxReplyBytes) {
        return fail(ErrorCode::kInvalid, "a key with its value has " + std::to_string(bytes) +
                                             " bytes, and an answer may have " + std::to_string(kMaxReplyBytes));
      }
      wire::QueryEntry& told = answer->entries.emplace_back();
      told.key = std::move(entry.key);
      told.text = std::move(entry.text);
      told.found = true;
    }
    return {};
  };
  store_.read_page(std::move(slice), show,
                   lifetime_.guard([this, answer, reply = std::move(reply)](Result<StatePage> page) mutable {
                     if (!page) {
                       answer->entries.clear();
                       set_problem(*answer, page.error());
                     } else {
                       answer->more = answer->more || page->more;
                     }
                     finish(std::move(reply), *answer);
                   }));
}

void ViewReader::add_up(std::shared_ptr<Sums> sums) {
  const auto last = std::make_shared<std::string>();
  const auto show = [sums, last, job = job_](StateRun& run) -> Status {
    const Result<std::vector<SinkEntry>> entries = shown(*job, sums->table, run);
    if (!entries) return std::unexpected(entries.error());
    for (const SinkEntry& entry : *entries) sums->add(entry);
    if (run.size() > 0) *last = run[run.size() - 1].key;
    return {};
  };
  store_.read_page(sums->slice, show, lifetime_.guard([this, sums, last](const Result<StatePage>& page) {
    if (page && page->more) {
      sums->slice.after = *last;
      return add_up(sums);
    }
    if (!page) set_problem(sums->answer, page.error());
    finish(std::move(sums->reply), sums->answer);
  }));
}

void ViewReader::finish(Reply reply, const wire::ViewReply& answer) {
  --open_;
  reply(answer);
}

}  // namespace millrace
