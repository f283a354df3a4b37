#include "adapters/memory_stores.h"

#include <algorithm>

namespace millrace {

Result<std::optional<std::string>> MemoryMetadataStore::get(const std::string& key) {
  const auto found = values_.find(key);
  return found == values_.end() ? std::nullopt : std::optional(found->second);
}

Result<std::vector<std::pair<std::string, std::string>>> MemoryMetadataStore::scan(const std::string& prefix,
                                                                                   size_t limit,
                                                                                   const std::string& from) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (auto at = values_.lower_bound(std::max(prefix, from)); at != values_.end() && pairs.size() < limit; ++at) {
    if (!at->first.starts_with(prefix)) break;
    pairs.emplace_back(*at);
  }
  return pairs;
}

void MemoryMetadataStore::commit(WriteSet set, std::move_only_function<void(Status)> done) {
  for (const WriteSet::Write& write : set.writes()) {
    if (write.value) {
      values_[write.key] = *write.value;
    } else {
      values_.erase(write.key);
    }
  }
  loop_.post([weak = std::weak_ptr(alive_), done = std::move(done)]() mutable {
    if (!weak.expired()) done({});
  });
}

template <typename T>
void ForgetfulCheckpointStore::answer(Result<T> result, Done<T> done) {
  loop_.post([weak = std::weak_ptr(alive_), result = std::move(result), done = std::move(done)]() mutable {
    if (!weak.expired()) done(std::move(result));
  });
}

void ForgetfulCheckpointStore::write_state(std::string name, std::vector<StateRun> runs, Done<StateFile> done) {
  StateFile file{std::move(name), 0, 0, 0};
  for (const StateRun& run : runs) {
    file.size += run.bytes();
    file.entries += run.size();
  }
  answer<StateFile>(std::move(file), std::move(done));
}

void ForgetfulCheckpointStore::read_state(StateFile file, std::vector<StatePartition>, Done<StateRun> done) {
  answer<StateRun>(fail(ErrorCode::kNotFound, "the state in " + file.name + " was not kept, as all is in one process"),
                   std::move(done));
}

void ForgetfulCheckpointStore::merge_state(std::vector<StateFile>, std::vector<StatePartition>, std::string name,
                                           Done<StateFile> done) {
  answer<StateFile>(StateFile{std::move(name), 0, 0, 0}, std::move(done));
}

void ForgetfulCheckpointStore::read_page(StateSlice, Show, Done<StatePage> done) {
  answer<StatePage>(fail(ErrorCode::kNotFound, "no state was kept, as all is in one process"), std::move(done));
}

void ForgetfulCheckpointStore::create(std::string name, std::string bytes, Done<bool> done) {
  answer<bool>(files_->emplace(std::move(name), std::move(bytes)).second, std::move(done));
}

void ForgetfulCheckpointStore::read(std::string name, Done<std::string> done) {
  const auto found = files_->find(name);
  if (found != files_->end()) return answer<std::string>(found->second, std::move(done));
  answer<std::string>(fail(ErrorCode::kNotFound, "there is no " + name + " in memory"), std::move(done));
}

void ForgetfulCheckpointStore::list(std::string folder, Done<std::vector<std::string>> done) {
  std::vector<std::string> names;
  for (auto at = files_->lower_bound(folder + "/"); at != files_->end() && at->first.starts_with(folder + "/"); ++at) {
    names.push_back(at->first);
  }
  answer<std::vector<std::string>>(std::move(names), std::move(done));
}

void ForgetfulCheckpointStore::remove(std::vector<std::string> names, Done<bool> done) {
  for (const std::string& name : names) files_->erase(name);
  answer<bool>(true, std::move(done));
}

}  // namespace millrace
