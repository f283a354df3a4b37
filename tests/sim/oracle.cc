#include "tests/sim/oracle.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "common/model/source_topics.h"
#include "common/wire/codec.h"
#include "master/master.h"
#include "stream/event_key.h"
#include "tests/sim/append_job.h"
#include "tests/sim/chain_job.h"
#include "tests/sim/index_job.h"
#include "tests/sim/level_job.h"
#include "tests/sim/time_jobs.h"
#include "tests/sim/upgraded_job.h"

namespace millrace {
namespace {

constexpr size_t kMostRanked = 1000;

uint64_t place_hash(uint64_t partition, uint64_t offset, uint64_t position) {
  uint64_t h = partition * 0x9E3779B97F4A7C15ULL + offset * 0xBF58476D1CE4E5B9ULL + position * 0x94D049BB133111EBULL;
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9ULL;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBULL;
  return h ^ (h >> 31);
}

std::string field(const std::map<std::string, std::string>& status, const std::string& name) {
  const auto found = status.find(name);
  return found == status.end() ? "(none)" : found->second;
}

// Offsets without the partitions of which nothing was read: when the master learns of new ones is its affair.
std::string without_empty_ones(const std::string& offsets) {
  std::istringstream parts(offsets);
  std::string kept;
  for (std::string part; std::getline(parts, part, ',');) {
    if (!part.ends_with(":0")) kept += part + ",";
  }
  return kept;
}

int64_t event_window_end(int64_t event_ms) {
  const int64_t window_ms = to_ms(kEventWindow);
  return event_ms / window_ms * window_ms + window_ms;
}

}  // namespace

// Of a table of the job; all but a chain have one.
std::string Oracle::text_of(const std::string& type, const std::string& table, const Sums& sums) {
  if (type == kChainJob && table == kChainCounts) return std::to_string(sums.count);
  if (type == "two_sum") return std::to_string(sums.count) + " " + std::to_string(sums.sum);
  if (type == kChainJob) return std::to_string(sums.factor) + " " + std::to_string(sums.summand);
  if (type == kLevelJob) return LevelValue{sums.count, sums.sum}.text();
  return std::to_string(sums.count);
}

std::string Oracle::difference(const std::map<std::string, std::string>& seen,
                               const std::map<std::string, std::string>& expected) {
  for (const auto& [word, text] : expected) {
    const auto found = seen.find(word);
    if (found == seen.end()) return "'" + word + "' is missing, expected " + text;
    if (found->second != text) return "'" + word + "' is " + found->second + ", expected " + text;
  }
  for (const auto& [word, text] : seen) {
    if (!expected.contains(word)) return "'" + word + "' is " + text + ", and in no record";
  }
  return "";
}

std::string Oracle::at_batch(int64_t batch) {
  return " at batch " + std::to_string(batch);
}

void Oracle::breach(const Job& job, const std::string& what) {
  if (breach_.empty()) breach_ = "job " + job.spec.name + ": " + what;
}

Oracle::Job* Oracle::find(const std::string& name) {
  const auto found = newest_of_.find(name);
  return found == newest_of_.end() ? nullptr : &jobs_.at(found->second);
}

// --- the batch log -----------------------------------------------------------------------------------------------

void Oracle::on_durable(const std::string& key, const std::string& value) {
  if (key.starts_with("job/")) {
    if (const auto record = decode_record<wire::JobRecord>(value)) on_job(*record);
  } else if (key.starts_with("batch/")) {
    const auto job = jobs_.find(JobId(parse_hex(key.substr(6, 16))));
    const auto record = decode_record<wire::BatchRecord>(value);
    if (job != jobs_.end() && record) on_batch(job->second, *record);
  } else if (key.starts_with("assignment/")) {
    const auto job = jobs_.find(JobId(parse_hex(key.substr(11, 16))));
    const auto record = decode_record<wire::AssignmentRecord>(value);
    if (job != jobs_.end() && record) on_assignment(job->second, *record);
  }
}

void Oracle::on_job(const wire::JobRecord& record) {
  const JobId id(static_cast<uint64_t>(record.job));
  auto [entry, added] = jobs_.try_emplace(id);
  Job& job = entry->second;
  if (added) {
    newest_of_[record.spec.name] = id;
    job = new_job(record);
  }
  if (Incarnation(record.incarnation) > job.incarnation) go_back(job, record);
  if (!record.checkpoints.empty()) check_checkpoint(job, record.checkpoints.back());
}

// As if the batches after the checkpoint had never been.
void Oracle::go_back(Job& job, const wire::JobRecord& record) {
  ++times_gone_back_;
  Job before = std::exchange(job, new_job(record));
  job.claimed = before.claimed;
  const int64_t newest = record.checkpoints.empty() ? 0 : record.checkpoints.back().batch;
  for (const wire::BatchRecord& batch : before.log) {
    if (batch.batch <= newest) on_batch(job, batch);
  }
}

Oracle::Job Oracle::new_job(const wire::JobRecord& record) const {
  Job job;
  job.id = job_of(record.job);
  job.spec = record.spec;
  job.incarnation = Incarnation(record.incarnation);
  for (const LogDescription::Partition& partition : deps_.topic.describe().partitions) {
    // One that is added later has no start.
    const auto& known = record.spec.start_partitions;
    const auto place = std::ranges::find(known, partition.id.value()) - known.begin();
    const auto index = known.empty() ? static_cast<size_t>(partition.id.value()) : static_cast<size_t>(place);
    if (index < record.spec.start_offsets.size()) job.next[partition.id] = Offset(record.spec.start_offsets[index]);
  }
  job.records.emplace_back();
  job.totals.emplace_back();
  return job;
}

void Oracle::on_batch(Job& job, const wire::BatchRecord& record) {
  std::ostringstream written;
  for (const wire::PlannedRange& range : record.ranges) {
    written << range.partition << ":" << range.from_offset << "-" << range.to_offset << " ";
  }
  written << record.time_ms << (record.tick ? " tick " : " ") << record.watermark_ms;
  if (record.batch <= job.newest()) {
    if (written.str() != job.records[static_cast<size_t>(record.batch)]) {
      breach(job, "the durable batch " + std::to_string(record.batch) + " was rewritten");
    }
    return;
  }
  if (record.batch != job.newest() + 1) {
    return breach(job,
                  "batch " + std::to_string(record.batch) + " became durable after " + std::to_string(job.newest()));
  }
  check_time(job, record);
  check_watermark(job, record);
  Totals totals = job.totals.back();
  for (const wire::PlannedRange& range : record.ranges) fold_range(job, record.batch, range, totals);
  if (is_time_job(job.spec.type)) pass_time(job, record);
  if (is_event_job(job.spec.type)) pass_watermark(job, record);
  if (job.spec.type == kFadingCountsJob) pass_counts(job, record.batch);
  if (job.spec.type == kLevelJob) pass_levels(job, record.batch);
  totals.offsets.clear();
  const SourceTopics topics = SourceTopics::of(job.spec.source);
  for (const auto& [partition, next] : job.next) {
    totals.offsets +=
        (totals.offsets.empty() ? "" : ",") + topics.label(partition) + ":" + std::to_string(next.value());
  }
  job.log.push_back(record);
  job.records.push_back(written.str());
  job.totals.push_back(std::move(totals));
}

void Oracle::fold_range(Job& job, int64_t batch, const wire::PlannedRange& range, Totals& totals) {
  const LogPartition partition(range.partition);
  Offset& next = job.next[partition];
  if (Offset(range.from_offset) != next) {
    breach(job, "batch " + std::to_string(batch) + " begins at offset " + std::to_string(range.from_offset) +
                    " of log " + std::to_string(range.partition) + ", the batches before end at " +
                    std::to_string(next.value()));
  }
  next = Offset(range.to_offset);
  for (int64_t offset = range.from_offset; offset < range.to_offset; ++offset) {
    const auto& record = deps_.topic.record(partition, Offset(offset));
    if (!record.has_value()) continue;
    ++totals.records;
    const std::string text = record->value.value_or("");
    if (text.find('\xff') != std::string::npos) {
      ++totals.dead_letters;
      continue;
    }
    std::istringstream words(text);
    uint64_t position = 0;
    std::string window;  // of an event job: what follows its words
    if (is_event_job(job.spec.type)) {
      const int64_t event_ms = event_time_ms(range.partition, offset);
      int64_t& greatest_ms = job.events[range.partition];
      greatest_ms = std::max(greatest_ms, event_ms);
      if (event_window_end(event_ms) <= job.watermark_ms) continue;  // late
      window = "@" + utc_text(event_window_end(event_ms) - to_ms(kEventWindow));
    }
    for (std::string word; words >> word; ++position) {
      if (job.spec.type == kAppendJob) {
        job.appended[batch].push_back(word);
        ++totals.emitted;  // to the output, besides
      }
      if (is_time_job(job.spec.type) || is_event_job(job.spec.type) || job.spec.type == kLevelJob) {
        ++job.arrived[word + window];
        ++totals.emitted;
        continue;
      }
      if (is_index_job(job.spec.type)) {
        add_posting(job, batch, word, topic_partition(partition), offset);
        totals.emitted += 2;
        continue;
      }
      auto& history = job.words[word];
      if (history.empty()) {
        history.emplace_back(batch, Sums{});
      } else if (history.back().first != batch) {
        history.emplace_back(batch, history.back().second);
      }
      Sums& sums = history.back().second;
      ++sums.count;
      const uint64_t place =
          place_hash(static_cast<uint64_t>(range.partition), static_cast<uint64_t>(offset), position);
      sums.sum += place;
      chain_step(sums.factor, sums.summand, topic_index(partition) == 1, topic_partition(partition), offset);
      totals.emitted += job.spec.type == kUpgradedJob || job.spec.type == kChainJob ? 2 : 1;
    }
  }
}

const Oracle::Sums* Oracle::sums_at(const Job& job, const std::string& word, int64_t batch) const {
  const auto found = job.words.find(word);
  if (found == job.words.end() || is_unseen(word)) return nullptr;
  const auto& history = found->second;
  const auto after = std::ranges::upper_bound(history, batch, {}, [](const auto& entry) { return entry.first; });
  if (after == history.begin()) return nullptr;
  const Sums& sums = std::prev(after)->second;
  return sums.count == 0 ? nullptr : &sums;
}

std::map<std::string, std::string> Oracle::values_at(const Job& job, const std::string& table, int64_t batch,
                                                     const std::function<bool(const std::string&)>& wanted) const {
  std::map<std::string, std::string> values;
  for (const auto& [word, history] : job.words) {
    if (!wanted(word)) continue;
    if (const Sums* sums = sums_at(job, word, batch)) values[word] = text_of(job.spec.type, table, *sums);
  }
  return values;
}

// --- the sink ----------------------------------------------------------------------------------------------------

void Oracle::on_sink_event(const FakeSinkServer::Event& event) {
  using What = FakeSinkServer::What;
  if (event.what == What::kDataLoss || event.what == What::kPurge) {
    for (auto& [id, job] : jobs_) {
      if (event.what == What::kPurge && id != event.job) continue;
      job.published.clear();
      job.round = BatchId(0);
    }
    return;
  }
  const auto found = jobs_.find(event.job);
  if (found == jobs_.end()) return;  // a claim before the job is durable
  Job& job = found->second;
  if (event.what == What::kClaim) {
    if (event.incarnation < job.claimed) breach(job, "an older incarnation took the sink's keys");
    job.claimed = event.incarnation;
    return;
  }
  if (event.incarnation < job.incarnation) {
    // Until the new one has the keys, what is late of the old one may come: all of it is published over.
    if (job.claimed >= job.incarnation) breach(job, "an older incarnation published" + at_batch(event.batch.value()));
    return;
  }
  if (event.batch.value() > job.newest()) {
    return breach(job, "the sink was told of batch " + std::to_string(event.batch.value()) + ", which is not durable");
  }
  if (event.what == What::kRound) return check_round(job, event);
  check_value(job, event);
  if (event.what == What::kDone) check_done(job, event);
}

std::map<std::string, std::string> Oracle::shown(const FakeSinkServer::Table& table) {
  std::map<std::string, std::string> all = table.values;
  for (const auto& [key, members] : table.members) {
    for (const auto& [member, count] : members) all[name_of(key, member)] = std::to_string(static_cast<int64_t>(count));
  }
  return all;
}

void Oracle::check_value(Job& job, const FakeSinkServer::Event& event) {
  auto& newest = job.published[event.partition];
  const auto present = std::pair(event.generation, event.batch);
  if (present.first < newest.first || present.second < newest.second) {
    std::ostringstream out;
    out << "partition " << event.partition << " went back from generation " << newest.first << ", batch "
        << newest.second << " to " << present.first << ", " << present.second;
    return breach(job, out.str());
  }
  newest = present;
  if (event.what == FakeSinkServer::What::kDone) return;
  const std::string name = event.member ? name_of(event.key, *event.member) : event.key;
  const Sums* sums = sums_at(job, name, event.batch.value());
  const std::string expected = sums == nullptr ? "nothing" : text_of(job.spec.type, event.table, *sums);
  const std::string told = event.what == FakeSinkServer::What::kRemoved ? "nothing" : event.text;
  if (told != expected) {
    breach(job,
           "the sink was told that '" + name + "' is " + told + at_batch(event.batch.value()) + ", it is " + expected);
  }
}

void Oracle::check_done(Job& job, const FakeSinkServer::Event& event) {
  const auto wanted = [&](const std::string& word) {
    return state_partition_of(word.substr(0, word.find(kMember)), job.spec.state_partitions) == event.partition;
  };
  const FakeSinkServer::Keys& keys = *deps_.sink.find(job.spec.name);
  for (const TablePlan& plan : plan_from(job.spec.plan).tables) {
    const FakeSinkServer::Table& table = keys.table(plan.name);
    std::map<std::string, std::string> seen = shown(table);
    std::erase_if(seen, [&](const auto& value) { return !wanted(value.first); });
    auto expected = values_at(job, plan.name, event.batch.value(), wanted);
    std::string differs = difference(seen, expected);
    if (differs.empty() && plan.rank_all) {
      std::erase_if(expected, [](const auto& value) { return is_posting(value.first); });
      std::map<std::string, std::string> rank;
      for (const auto& [word, score] : table.rank) {
        if (wanted(word)) rank[word] = std::to_string(static_cast<int64_t>(score));
      }
      differs = difference(rank, expected);
    }
    if (differs.empty()) continue;
    breach(job, "partition " + std::to_string(event.partition.value()) + " is done" + at_batch(event.batch.value()) +
                    ", but in the sink's table " + plan.name + " " + differs);
  }
}

void Oracle::check_round(Job& job, const FakeSinkServer::Event& event) {
  const int64_t batch = event.batch.value();
  if (event.batch < job.round) breach(job, "a round went back" + at_batch(batch));
  job.round = event.batch;
  const FakeSinkServer::Keys& keys = *deps_.sink.find(job.spec.name);
  int32_t reached = 0;
  for (const auto& [partition, fence] : keys.fences) reached += fence.done >= event.batch ? 1 : 0;
  if (reached != job.spec.state_partitions) {
    breach(job,
           "a round ended" + at_batch(batch) + " which only " + std::to_string(reached) + " partitions have reached");
  }
  const Totals& totals = job.totals[static_cast<size_t>(batch)];
  const std::map<std::string, std::string> expected = {{"batch", std::to_string(batch)},
                                                       {"records", std::to_string(totals.records)},
                                                       {"dead_letters", std::to_string(totals.dead_letters)},
                                                       {"words", std::to_string(totals.emitted)},
                                                       {"offsets", totals.offsets}};
  for (const auto& [what, text] : expected) {
    const std::string seen = field(keys.status, what);
    if (what == "offsets" ? without_empty_ones(seen) == without_empty_ones(text) : seen == text) continue;
    breach(job, "the status' " + what + at_batch(batch) + " is " + seen + ", expected " + text);
  }
  if (job.words.size() > kMostRanked) return;
  for (const TablePlan& plan : plan_from(job.spec.plan).tables) {
    if (!plan.rank_of_rounds()) continue;
    std::map<std::string, std::string> rank;
    for (const auto& [word, score] : keys.table(plan.name).rank) {
      rank[word] = std::to_string(static_cast<int64_t>(score));
    }
    const std::string differs =
        difference(rank, values_at(job, plan.name, batch, [](const std::string& word) { return !is_posting(word); }));
    if (!differs.empty()) breach(job, "in the rank " + plan.rank + at_batch(batch) + " " + differs);
  }
}

void Oracle::check_rest(const std::string& name) {
  Job* job = find(name);
  if (job == nullptr) {
    breach_ = breach_.empty() ? "there is no job " + name : breach_;
    return;
  }
  for (const LogDescription::Partition& partition : deps_.topic.describe().partitions) {
    const auto known = job->next.find(partition.id);
    const Offset next = known == job->next.end() ? Offset(0) : known->second;
    if (next == partition.end) continue;
    breach(*job, "log " + std::to_string(partition.id.value()) + " is read up to " + std::to_string(next.value()) +
                     " of " + std::to_string(partition.end.value()));
  }
  const FakeSinkServer::Keys* keys = deps_.sink.find(name);
  if (keys == nullptr) return breach(*job, "the sink has nothing of it");
  const auto all = [](const std::string&) { return true; };
  for (const TablePlan& plan : plan_from(job->spec.plan).tables) {
    const std::string differs =
        difference(shown(keys->table(plan.name)), values_at(*job, plan.name, job->newest(), all));
    if (!differs.empty()) breach(*job, "at rest, in table " + plan.name + ", " + differs);
  }
  if (!deps_.output.breach().empty()) breach(*job, deps_.output.breach());
  const std::string appended = appended_wrong(*job);
  if (!appended.empty()) breach(*job, "at rest " + appended);
}

// --- checkpoints -------------------------------------------------------------------------------------------------

void Oracle::check_checkpoint(Job& job, const wire::CheckpointRef& reference) {
  if (reference.batch <= job.checkpoint) return;
  job.checkpoint = reference.batch;
  const auto bytes = deps_.checkpoints.files.find(reference.name);
  if (bytes == deps_.checkpoints.files.end()) return breach(job, reference.name + " is referred to and not there");
  const auto manifest = decode_record<wire::Manifest>(bytes->second);
  if (!manifest) return;  // damaged on purpose
  if (reference.batch > job.newest()) return breach(job, reference.name + " is of a batch that is not durable");
  const auto code = deps_.make_job(job.spec.type, context_of(job.spec));
  std::map<StatePartition, std::unique_ptr<StateTable>> tables;
  for (const wire::CheckpointFile& named : manifest->files) {
    if (named.name.empty()) continue;
    // NAME-JOB/INCARNATION/...: a version's number is that of its first incarnation.
    if (std::stoi(named.name.substr(named.name.find('/') + 1)) < manifest->job_version) {
      return breach(job, reference.name + " goes on from " + named.name + ", of a former version");
    }
    const StateFile file{named.name, static_cast<uint64_t>(named.size), static_cast<uint64_t>(named.hash),
                         static_cast<uint64_t>(named.entries)};
    std::vector<StatePartition> partitions;
    for (const int32_t partition : named.partitions) partitions.emplace_back(partition);
    const auto run = read_fake_state(deps_.checkpoints, file, partitions);
    if (!run) return;  // damaged on purpose
    for (size_t i = 0; i < run->size(); ++i) {
      auto& table = tables[(*run)[i].partition];
      if (table == nullptr) {
        table = (*code)->make_state_table();
        const bool former = manifest->job_version != job.spec.version;
        const Status possible = former ? table->restore_from(states_from(manifest->states)) : Status();
        if (!possible) return breach(job, reference.name + ": " + possible.error().message);
      }
      if (!table->restore((*run)[i], true)) return breach(job, named.name + " does not parse");
    }
  }
  const std::vector<TablePlan> plans = (*code)->tables();
  std::vector<std::map<std::string, std::string>> seen(plans.size());
  for (auto& [partition, table] : tables) {
    table->finish_restore(manifest->tick_ms);
    for (const SinkEntry& entry : table->take_unpublished(true)) {
      const std::string key(entry.own_key());
      if (entry.is_member()) {
        seen[entry.table][name_of(key, std::string(entry.member()))] =
            std::to_string(static_cast<int64_t>(entry.score));
      } else {
        seen[entry.table][key] = entry.text;
      }
    }
  }
  ++checkpoints_read_;
  for (size_t i = 0; i < plans.size(); ++i) {
    const auto expected = values_at(job, plans[i].name, reference.batch, [](const std::string&) { return true; });
    const std::string differs = difference(seen[i], expected);
    if (!differs.empty()) breach(job, "in the checkpoint" + at_batch(reference.batch) + " " + differs);
  }
}

}  // namespace millrace
