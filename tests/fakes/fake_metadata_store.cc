#include "tests/fakes/fake_metadata_store.h"

#include <algorithm>

namespace millrace {
namespace {

void put_all(const WriteSet& set, std::map<std::string, std::string>& values) {
  for (const WriteSet::Write& write : set.writes()) {
    if (write.value) {
      values[write.key] = *write.value;
    } else {
      values.erase(write.key);
    }
  }
}

void put_all(const WriteSet& set, FakeMetadataDisk& disk) {
  put_all(set, disk.values);
  ++disk.commits;
  if (!disk.written) return;
  for (const WriteSet::Write& write : set.writes()) {
    if (write.value) disk.written(write.key, *write.value);
  }
}

}  // namespace

Result<std::unique_ptr<FakeMetadataStore>> FakeMetadataStore::open(TaskLoop& loop,
                                                                   std::shared_ptr<FakeMetadataDisk> disk) {
  if (disk->open) return fail(ErrorCode::kExists, "the data directory is in use by another millrace-master; stop it");
  return std::unique_ptr<FakeMetadataStore>(new FakeMetadataStore(loop, std::move(disk)));
}

FakeMetadataStore::FakeMetadataStore(TaskLoop& loop, std::shared_ptr<FakeMetadataDisk> disk)
    : loop_(loop), disk_(std::move(disk)) {
  disk_->open = true;
}

FakeMetadataStore::~FakeMetadataStore() {
  if (timer_ != 0) loop_.cancel(timer_);
  for (const Commit& commit : waiting_) {
    if (disk_->failure || !disk_->timing.lands()) break;
    put_all(commit.set, *disk_);
  }
  disk_->open = false;
}

std::map<std::string, std::string> FakeMetadataStore::visible() const {
  std::map<std::string, std::string> values = disk_->values;
  for (const Commit& commit : waiting_) put_all(commit.set, values);
  return values;
}

Result<std::optional<std::string>> FakeMetadataStore::get(const std::string& key) {
  for (auto commit = waiting_.rbegin(); commit != waiting_.rend(); ++commit) {
    const auto& writes = commit->set.writes();
    const auto write = std::find_if(writes.rbegin(), writes.rend(), [&](const auto& each) { return each.key == key; });
    if (write != writes.rend()) return write->value;
  }
  const auto value = disk_->values.find(key);
  return value == disk_->values.end() ? std::nullopt : std::optional(value->second);
}

Result<std::vector<std::pair<std::string, std::string>>> FakeMetadataStore::scan(const std::string& prefix,
                                                                                 size_t limit,
                                                                                 const std::string& from) {
  std::vector<std::pair<std::string, std::string>> pairs;
  const std::map<std::string, std::string> values = visible();
  for (auto at = values.lower_bound(std::max(prefix, from)); at != values.end() && pairs.size() < limit; ++at) {
    if (!at->first.starts_with(prefix)) break;
    pairs.emplace_back(*at);
  }
  return pairs;
}

void FakeMetadataStore::commit(WriteSet set, std::move_only_function<void(Status)> done) {
  waiting_.push_back({std::move(set), std::move(done)});
  if (timer_ == 0) start_group();
}

void FakeMetadataStore::start_group() {
  group_ = waiting_.size();
  timer_ = loop_.schedule(disk_->timing.take(), [this] { finish_group(); });
}

void FakeMetadataStore::finish_group() {
  timer_ = 0;
  Status status;
  if (disk_->failure) {
    status = std::unexpected(*disk_->failure);
    group_ = waiting_.size();  // sets called before a failure is told fail with it
  }
  std::vector<Commit> group;
  for (; group_ > 0; --group_) {
    group.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    if (status) put_all(group.back().set, *disk_);
  }
  if (!waiting_.empty()) start_group();
  for (Commit& each : group) each.done(status);  // the last one may destroy this
}

}  // namespace millrace
