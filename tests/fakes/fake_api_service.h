// FakeApiService and FakeIngestStore: a master and an embedded log that answer with what they were asked.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/seams/api_service.h"
#include "common/seams/ingest_store.h"
#include "common/seams/task_loop.h"

namespace millrace {

// Answers with what it was asked; the job or key "missing" is not there, "silent" never answers, "dropped" is
// forgotten, "outrun" was upgraded by somebody else meanwhile, "dropping" would lose a state; "refused" is told to be
// wrong, "untidy" has a problem, "sinkless" has no sink.
class FakeApiService : public ApiService {
 public:
  explicit FakeApiService(TaskLoop& loop) : loop_(loop) {}

  void submit(api::SubmitRequest request, Done<api::JobSummary> done) override {
    last_submit = request;
    answer(request.name, std::move(done), summary(request.name));
  }
  void jobs(Done<std::vector<api::JobSummary>> done) override { done(std::vector{summary("a"), summary("b")}); }
  void job_types(Done<std::vector<api::JobType>> done) override {
    api::JobType type;
    type.name = "word_count";
    type.description = "counts";
    type.settings.resize(2);
    type.settings[0].name = "field";
    type.settings[1].name = "rank";
    type.settings[1].default_value = "top";
    type.settings[1].description = "how many";
    done(std::vector<api::JobType>{type});
  }
  void describe(std::string name, Done<api::JobDescription> done) override {
    api::JobDescription description;
    description.summary = summary(name);
    description.sink = name == "sinkless" ? "none:" : "redis://h";
    answer(name, std::move(done), description);
  }
  void stop(std::string name, Done<api::JobSummary> done) override {
    ++stops;
    answer(name, std::move(done), summary(name));
  }
  void resume(std::string name, Done<api::JobSummary> done) override {
    if (name == "outrun") return done(fail(ErrorCode::kInvalid, "it runs already"));
    answer(name, std::move(done), summary(name));
  }
  void resume_from(std::string name, int64_t batch, Done<api::JobSummary> done) override {
    api::JobSummary answered = summary(name);
    answered.applied.batch = batch;
    answer(name, std::move(done), answered);
  }
  void plan_upgrade(api::UpgradeRequest request, Done<api::UpgradePlan> done) override {
    api::UpgradePlan plan;
    plan.version = 2;
    plan.states.resize(request.plan.states.size());
    if (request.name == "dropping") {
      api::StateChange& lost = plan.states.emplace_back();
      lost.name = "counts";
      lost.fate = "dropped";
      lost.layout = "text -> int64";
      lost.note = "all that it holds is lost";
      if (request.drop != std::vector<std::string>{"counts"}) plan.problem = "state 'counts' would be dropped";
    }
    answer(request.name, std::move(done), plan);
  }
  void upgrade(api::UpgradeRequest request, Done<api::JobSummary> done) override {
    if (request.name == "outrun") return done(fail(ErrorCode::kInvalid, "it is of version 3 by now"));
    api::JobSummary upgraded = summary(request.name);
    upgraded.type = request.type;
    answer(request.name, std::move(done), upgraded);
  }
  void kill(std::string name, bool purge, Done<bool> done) override {
    purged = purge;
    answer(name, std::move(done), true);
  }
  void checkpoints(std::string name, Done<std::vector<api::Checkpoint>> done) override {
    std::vector<api::Checkpoint> two(2);
    two[1].batch = 7;
    answer(name, std::move(done), two);
  }
  void batches(std::string name, int32_t n, int64_t before, Done<api::BatchProfiles> done) override {
    api::BatchProfiles profiles;
    profiles.now_ms = 1'000'000;
    const int64_t end = before == 0 ? 1000 : before;
    for (int64_t batch = end - n; batch < end; ++batch) {
      api::BatchProfile& profile = profiles.batches.emplace_back();
      profile.batch = batch;
      profile.applied_us = 1000 * batch;
      profile.time_ms = profiles.now_ms - 1000 * (end - batch);
    }
    answer(name, std::move(done), profiles);
  }
  void workers(Done<std::vector<api::WorkerSummary>> done) override { done(std::vector<api::WorkerSummary>(3)); }
  void lag(std::string name, Done<api::Lag> done) override {
    api::Lag lag;
    lag.partitions.resize(2);
    answer(name, std::move(done), lag);
  }
  void get(std::string name, std::vector<std::string> keys, int64_t at_least, std::string table,
           Done<api::Values> done) override {
    api::Values values;
    values.table = table;
    values.as_of.batch = at_least;
    for (const std::string& key : keys) {
      values.values.emplace_back();
      values.values.back().key = key;
      values.values.back().text = std::to_string(key.size());
      values.values.back().found = key != "missing";
    }
    answer(name, std::move(done), values);
  }
  void top(std::string name, int32_t n, int64_t at_least, std::string table, Done<api::Values> done) override {
    api::Values values;
    values.table = table;
    values.as_of.batch = at_least;
    values.values.resize(n);
    answer(name, std::move(done), values);
  }
  void changes(api::ChangesRequest request, Done<api::Changes> done) override {
    api::Changes changes;
    changes.position = request.after;
    changes.table = request.table;
    changes.reset = request.after.job_id.empty() || (request.name == "outrun" && request.after.batch == 8);
    changes.position.job_id = "0123456789abcdef";
    changes.position.batch += changes.reset ? 7 : 1;
    if (!changes.reset) {
      api::BatchChanges& batch = changes.batches.emplace_back();
      batch.as_of = changes.position;
      for (const auto& [key, text] : {std::pair("a", "1"), std::pair("b", ""), std::pair("a", "2")}) {
        api::Change& change = batch.changes.emplace_back();
        change.key = key;
        change.text = text;
        change.removed = change.text.empty();
      }
    }
    answer(request.name, std::move(done), changes);
  }
  void docs(api::DocsRequest request, Done<api::Docs> done) override {
    api::Docs docs;
    docs.as_of.batch = request.at_least;
    docs.table = request.table;
    docs.found = true;
    docs.value = "12";
    for (int32_t i = 0; i < request.limit; ++i) {
      api::Doc& doc = docs.docs.emplace_back();
      doc.member = request.key + " " + std::to_string(i);
      doc.count = request.limit - i;
    }
    docs.next_page = request.after + "+";
    answer(request.name, std::move(done), docs);
  }
  // The words w0 to w2499, as of batch 7.
  void search(api::SearchRequest request, Done<api::Page> done) override {
    api::Page page;
    page.as_of.job_id = "0123456789abcdef";
    page.as_of.batch = 7;
    page.table = request.table;
    int number = request.after.empty() ? 0 : std::stoi(request.after);
    if (request.name == "gone" && number > 0) return done(fail(ErrorCode::kDataLost, "the snapshot is gone"));
    for (; number < 2500 && std::ssize(page.entries) < request.limit; ++number) {
      api::Value& entry = page.entries.emplace_back();
      entry.key = request.prefix + "w" + std::to_string(number);
      entry.text = std::to_string(number);
      entry.found = true;
    }
    if (number < 2500) page.next_page = std::to_string(number);
    ++searches;
    answer(request.name, std::move(done), page);
  }
  void totals(std::string name, std::string table, Done<api::Totals> done) override {
    api::Totals totals;
    totals.as_of.batch = 7;
    totals.table = table;
    totals.keys = 3;
    if (table.empty()) totals.__set_sum(12);
    answer(name, std::move(done), totals);
  }
  void dead_letters(std::string name, int32_t limit, int32_t from_partition, int64_t from_offset,
                    std::string from_topic, Done<api::DeadLetters> done) override {
    api::DeadLetters letters;
    letters.total = limit + from_partition + from_offset + static_cast<int64_t>(from_topic.size());
    answer(name, std::move(done), letters);
  }

  // Read by tests after the answer has come.
  api::SubmitRequest last_submit;
  int stops = 0;
  int searches = 0;
  bool purged = false;

 private:
  static api::JobSummary summary(const std::string& name) {
    api::JobSummary summary;
    summary.name = name;
    if (name == "untidy") summary.problem = "stopped without a last checkpoint";
    return summary;
  }
  template <typename T>
  void answer(const std::string& name, Done<T> done, T value) {
    EXPECT_TRUE(loop_.on_loop());
    if (name == "missing") return done(fail(ErrorCode::kNotFound, "there is no job 'missing'"));
    if (name == "dropped") return;
    if (name == "refused") return done(fail(ErrorCode::kInvalid, "that cannot be"));
    if (name == "silent") {
      kept_.emplace_back([done = std::move(done)]() mutable { done(fail(ErrorCode::kInternal, "too late")); });
      return;
    }
    done(std::move(value));
  }

  TaskLoop& loop_;
  std::vector<std::move_only_function<void()>> kept_;
};

class FakeIngestStore : public IngestStore {
 public:
  Result<int32_t> open_log(const std::string& log, int32_t partitions) override {
    if (log == "full") return fail(ErrorCode::kIo, "no space left");
    return partitions;
  }
  Result<OffsetRange> append(const std::string&, LogPartition partition, NewRecords records,
                             AppendIdentity identity) override {
    if (partition.value() > 3) return fail(ErrorCode::kNotFound, "no such partition");
    const std::lock_guard lock(mutex_);
    for (const std::string& record : records.values) bytes_ += record.size();
    return OffsetRange{Offset(identity.sequence),
                       Offset(identity.sequence + static_cast<int64_t>(records.values.size()))};
  }
  size_t bytes() {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  std::mutex mutex_;
  size_t bytes_ = 0;
};

}  // namespace millrace
