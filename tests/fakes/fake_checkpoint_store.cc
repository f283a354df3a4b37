#include "tests/fakes/fake_checkpoint_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/model/hash.h"

namespace millrace {
namespace {

Status check_file_name(const std::string& name) {
  const std::string parts = "/" + name + "/";
  const bool good = !name.empty() && parts.find("//") == std::string::npos && parts.find("/.") == std::string::npos &&
                    name.find('\0') == std::string::npos;
  if (good) return {};
  return fail(ErrorCode::kInvalid, "'" + name + "' is no name of a file in the checkpoint store");
}

void append_number(std::string& bytes, uint32_t number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void append_entry(std::string& bytes, const StateRun::Entry& entry) {
  append_number(bytes, static_cast<uint32_t>(entry.partition.value()));
  bytes.push_back(entry.removed ? 1 : 0);
  append_number(bytes, static_cast<uint32_t>(entry.key.size()));
  append_number(bytes, static_cast<uint32_t>(entry.value.size()));
  bytes.append(entry.key);
  bytes.append(entry.value);
}

uint32_t take_number(std::string_view& bytes) {
  uint32_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof(number));
  bytes.remove_prefix(sizeof(number));
  return number;
}

// The bytes were verified by their hash, so they parse.
StateRun parse(std::string_view bytes, const std::vector<StatePartition>& partitions) {
  StateRun run;
  while (!bytes.empty()) {
    const StatePartition partition(static_cast<int32_t>(take_number(bytes)));
    const bool removed = bytes[0] != 0;
    bytes.remove_prefix(1);
    const uint32_t key_size = take_number(bytes);
    const uint32_t value_size = take_number(bytes);
    if (std::find(partitions.begin(), partitions.end(), partition) != partitions.end()) {
      run.add(partition, bytes.substr(0, key_size), bytes.substr(key_size, value_size), removed);
    }
    bytes.remove_prefix(key_size + value_size);
  }
  return run;
}

Result<StateFile> store(FakeCheckpointDisk& disk, const std::string& name, const StateRun& run) {
  std::string bytes;
  for (size_t index = 0; index < run.size(); ++index) append_entry(bytes, run[index]);
  const StateFile file{name, bytes.size(), hash_of(bytes), run.size()};
  disk.files[name] = std::move(bytes);
  return file;
}

Result<StateRun> load(const FakeCheckpointDisk& disk, const StateFile& file,
                      const std::vector<StatePartition>& partitions) {
  if (auto good = check_file_name(file.name); !good) return std::unexpected(good.error());
  const auto found = disk.files.find(file.name);
  if (found == disk.files.end()) return fail(ErrorCode::kNotFound, file.name + " does not exist");
  const std::string& bytes = found->second;
  if (bytes.size() != file.size || hash_of(bytes) != file.hash) {
    return fail(ErrorCode::kCorrupt, file.name + " is not the file that the checkpoint names");
  }
  return parse(bytes, partitions);
}

Result<StateFile> merge(FakeCheckpointDisk& disk, const std::vector<StateFile>& files,
                        const std::vector<StatePartition>& partitions, const std::string& name) {
  struct Value {
    std::string bytes;
    bool removed;
  };
  std::map<std::pair<StatePartition, std::string>, Value> merged;
  for (const StateFile& file : files) {
    const Result<StateRun> run = load(disk, file, partitions);
    if (!run) return std::unexpected(run.error());
    for (size_t index = 0; index < run->size(); ++index) {
      const StateRun::Entry entry = (*run)[index];
      merged[{entry.partition, std::string(entry.key)}] = {std::string(entry.value), entry.removed};
    }
  }
  StateRun whole;
  for (const auto& [key, value] : merged) {
    if (!value.removed) whole.add(key.first, key.second, value.bytes);
  }
  return store(disk, name, whole);
}

Result<StatePage> read_page_of(const FakeCheckpointDisk& disk, const StateSlice& slice) {
  std::map<std::string, std::pair<StatePartition, std::optional<std::string>>> merged;  // none: removed
  for (const StateSlice::Source& source : slice.sources) {
    const Result<StateRun> run = load(disk, source.file, source.partitions);
    if (!run) return std::unexpected(run.error());
    for (size_t index = 0; index < run->size(); ++index) {
      const StateRun::Entry entry = (*run)[index];
      auto& [partition, value] = merged[std::string(entry.key)];
      partition = entry.partition;
      value = entry.removed ? std::nullopt : std::optional<std::string>(entry.value);
    }
  }
  StatePage page;
  const bool goes_on = slice.after && *slice.after >= slice.prefix;
  auto at = goes_on ? merged.upper_bound(*slice.after) : merged.lower_bound(slice.prefix);
  for (; at != merged.end() && at->first.starts_with(slice.prefix); ++at) {
    const auto& [partition, value] = at->second;
    if (!value) continue;
    const size_t bytes = page.run.bytes() + at->first.size() + value->size();
    page.more = page.run.size() >= slice.most_entries || (page.run.size() > 0 && bytes > slice.most_bytes);
    if (page.more) break;
    page.run.add(partition, at->first, *value);
  }
  return page;
}

}  // namespace

Result<StateRun> read_fake_state(const FakeCheckpointDisk& disk, const StateFile& file,
                                 const std::vector<StatePartition>& partitions) {
  return load(disk, file, partitions);
}

FakeCheckpointStore::FakeCheckpointStore(TaskLoop& loop, std::shared_ptr<FakeCheckpointDisk> disk)
    : loop_(loop), disk_(std::move(disk)) {}

FakeCheckpointStore::~FakeCheckpointStore() {
  if (timer_ != 0) loop_.cancel(timer_);
  if (!waiting_.empty() && disk_->timing.lands()) waiting_.front()();
}

template <typename T, typename Work>
void FakeCheckpointStore::enqueue(FakeFileOperation operation, std::string name, Work work, Done<T> done) {
  waiting_.push_back(
      [this, operation, name = std::move(name), work = std::move(work), done = std::move(done)]() mutable {
        const auto carry_out = [&]() -> Result<T> {
          if (disk_->failure) {
            if (std::optional<Error> error = disk_->failure(operation, name)) return std::unexpected(*error);
          }
          return work();
        };
        return TaskLoop::Task([result = carry_out(), done = std::move(done)]() mutable { done(std::move(result)); });
      });
  if (waiting_.size() == 1) start_next();
}

void FakeCheckpointStore::start_next() {
  timer_ = loop_.schedule(disk_->timing.take(), [this] {
    timer_ = 0;
    Operation operation = std::move(waiting_.front());
    waiting_.pop_front();
    TaskLoop::Task answer = operation();
    if (!waiting_.empty()) start_next();
    answer();  // may destroy this
  });
}

void FakeCheckpointStore::write_state(std::string name, std::vector<StateRun> runs, Done<StateFile> done) {
  auto work = [this, name, run = StateRun::sorted(std::move(runs))]() -> Result<StateFile> {
    if (auto good = check_file_name(name); !good) return std::unexpected(good.error());
    return store(*disk_, name, run);
  };
  enqueue<StateFile>(FakeFileOperation::kWriteState, name, std::move(work), std::move(done));
}

void FakeCheckpointStore::read_state(StateFile file, std::vector<StatePartition> partitions, Done<StateRun> done) {
  auto work = [this, file, partitions = std::move(partitions)] { return load(*disk_, file, partitions); };
  enqueue<StateRun>(FakeFileOperation::kReadState, file.name, std::move(work), std::move(done));
}

void FakeCheckpointStore::merge_state(std::vector<StateFile> files, std::vector<StatePartition> partitions,
                                      std::string name, Done<StateFile> done) {
  auto work = [this, files = std::move(files), partitions = std::move(partitions), name]() -> Result<StateFile> {
    if (auto good = check_file_name(name); !good) return std::unexpected(good.error());
    return merge(*disk_, files, partitions, name);
  };
  enqueue<StateFile>(FakeFileOperation::kMergeState, name, std::move(work), std::move(done));
}

void FakeCheckpointStore::read_page(StateSlice slice, Show show, Done<StatePage> done) {
  const std::string first = slice.sources.empty() ? "" : slice.sources.front().file.name;
  auto work = [this, slice = std::move(slice), show = std::move(show)]() mutable -> Result<StatePage> {
    Result<StatePage> page = read_page_of(*disk_, slice);
    if (!page) return page;
    if (Status shown = show(page->run); !shown) return std::unexpected(shown.error());
    return page;
  };
  enqueue<StatePage>(FakeFileOperation::kReadPage, first, std::move(work), std::move(done));
}

void FakeCheckpointStore::create(std::string name, std::string bytes, Done<bool> done) {
  auto work = [this, name, bytes = std::move(bytes)]() -> Result<bool> {
    if (auto good = check_file_name(name); !good) return std::unexpected(good.error());
    return disk_->files.emplace(name, bytes).second;
  };
  enqueue<bool>(FakeFileOperation::kCreate, name, std::move(work), std::move(done));
}

void FakeCheckpointStore::read(std::string name, Done<std::string> done) {
  auto work = [this, name]() -> Result<std::string> {
    if (auto good = check_file_name(name); !good) return std::unexpected(good.error());
    const auto file = disk_->files.find(name);
    if (file == disk_->files.end()) return fail(ErrorCode::kNotFound, name + " does not exist");
    return file->second;
  };
  enqueue<std::string>(FakeFileOperation::kRead, name, std::move(work), std::move(done));
}

void FakeCheckpointStore::list(std::string folder, Done<std::vector<std::string>> done) {
  auto work = [this, folder]() -> Result<std::vector<std::string>> {
    if (!folder.empty()) {
      if (auto good = check_file_name(folder); !good) return std::unexpected(good.error());
    }
    std::vector<std::string> names;
    for (const auto& [name, bytes] : disk_->files) {
      if (folder.empty() || name.starts_with(folder + "/")) names.push_back(name);
    }
    return names;
  };
  enqueue<std::vector<std::string>>(FakeFileOperation::kList, folder, std::move(work), std::move(done));
}

void FakeCheckpointStore::remove(std::vector<std::string> names, Done<bool> done) {
  const std::string first = names.empty() ? "" : names.front();
  auto work = [this, names = std::move(names)]() -> Result<bool> {
    for (const std::string& name : names) {
      if (auto good = check_file_name(name); !good) return std::unexpected(good.error());
      disk_->files.erase(name);
    }
    return true;
  };
  enqueue<bool>(FakeFileOperation::kRemove, first, std::move(work), std::move(done));
}

}  // namespace millrace
