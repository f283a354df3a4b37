#include "adapters/file_checkpoint_store.h"

#include <rocksdb/sst_file_reader.h>
#include <rocksdb/sst_file_writer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <queue>
#include <utility>

#include "adapters/durable_file.h"
#include "adapters/state_file.h"
#include "adapters/state_pages.h"
#include "adapters/worker_thread.h"
#include "common/base/check.h"

namespace millrace {
namespace {

using state_file::describe;
using state_file::kPrefixSize;
using state_file::kRemovedTag;
using state_file::kValueTag;
using state_file::prefix_of;
using state_file::table_options;

// Of those who read pages. The lanes of a host with two processors lose a twentieth of them at most to such a thread.
constexpr int kPagesNice = 10;
// A page that nobody has followed after so long leaves its files alone.
constexpr Duration kPagesKept = std::chrono::seconds(30);

// Writes one state file aside and puts it under its name when it is complete. Blocking.
class StateFileWriter {
 public:
  StateFileWriter(std::string root, std::string name)
      : root_(std::move(root)), name_(std::move(name)), writer_(rocksdb::EnvOptions(), table_options()) {}
  ~StateFileWriter() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }
  StateFileWriter(const StateFileWriter&) = delete;
  StateFileWriter& operator=(const StateFileWriter&) = delete;

  Status open() {
    Result<std::string> temporary = durable_file::temporary_path(root_);
    if (!temporary) return std::unexpected(temporary.error());
    temporary_ = std::move(*temporary);
    return check(writer_.Open(temporary_));
  }

  Status add(rocksdb::Slice key, rocksdb::Slice tagged_value) {
    ++entries_;
    const rocksdb::Status status = writer_.Put(key, tagged_value);
    return status.ok() ? Status() : check(status);
  }

  Result<StateFile> finish() {
    if (auto closed = close(); !closed) return std::unexpected(closed.error());
    const Result<durable_file::Digest> digest = durable_file::digest_file(temporary_, /*sync=*/true);
    if (!digest) return std::unexpected(digest.error());
    if (auto placed = durable_file::publish_replacing(root_, temporary_, name_); !placed) {
      return std::unexpected(placed.error());
    }
    temporary_.clear();
    return StateFile{name_, digest->size, digest->hash, entries_};
  }

 private:
  // A table of no entries does not exist in RocksDB: an empty file stands for it.
  Status close() {
    if (entries_ > 0) return check(writer_.Finish());
    ::unlink(temporary_.c_str());
    return durable_file::write_file(temporary_, "");
  }

  Status check(const rocksdb::Status& status) const {
    if (status.ok()) return {};
    return std::unexpected(describe(root_ + "/" + name_, status));
  }

  const std::string root_;
  const std::string name_;
  std::string temporary_;  // empty once it is in its place
  rocksdb::SstFileWriter writer_;
  uint64_t entries_ = 0;
};

// A verified state file, read entry by entry within one partition after the other. Blocking.
class StateFileReader {
 public:
  explicit StateFileReader(std::string path) : path_(std::move(path)) {}

  // kNotFound, kCorrupt (other bytes than `file` names), kIo.
  Status open(const StateFile& file) {
    const Result<durable_file::Digest> digest = durable_file::digest_file(path_, /*sync=*/false);
    if (!digest) return std::unexpected(digest.error());
    if (digest->size != file.size || digest->hash != file.hash) {
      return fail(ErrorCode::kCorrupt, path_ + " is not the file that the checkpoint names: " +
                                           std::to_string(digest->size) + " bytes with hash " + to_hex(digest->hash) +
                                           " instead of " + std::to_string(file.size) + " with " + to_hex(file.hash));
    }
    if (file.size == 0) return {};
    reader_ = std::make_unique<rocksdb::SstFileReader>(table_options());
    if (const rocksdb::Status status = reader_->Open(path_); !status.ok())
      return std::unexpected(describe(path_, status));
    rocksdb::ReadOptions options;
    options.verify_checksums = true;
    options.readahead_size = 256 << 10;
    entries_.reset(reader_->NewIterator(options));
    return {};
  }

  void seek(StatePartition partition) {
    prefix_ = prefix_of(partition);
    if (entries_ != nullptr) entries_->Seek(prefix_);
  }
  void next() { entries_->Next(); }
  [[nodiscard]] bool valid() const {
    return entries_ != nullptr && entries_->Valid() && entries_->key().starts_with(prefix_);
  }
  [[nodiscard]] Status status() const {
    if (entries_ == nullptr || entries_->status().ok()) return {};
    return std::unexpected(describe(path_, entries_->status()));
  }

  // Of the entry it stands on.
  [[nodiscard]] rocksdb::Slice key() const { return entries_->key(); }  // with the partition
  [[nodiscard]] rocksdb::Slice tagged_value() const { return entries_->value(); }
  [[nodiscard]] Result<bool> removed() const {
    const rocksdb::Slice value = entries_->value();
    if (!value.empty() && (value[0] == kValueTag || value[0] == kRemovedTag)) return value[0] == kRemovedTag;
    return fail(ErrorCode::kCorrupt, path_ + " holds a value without a tag: it was not written as a state file");
  }

 private:
  const std::string path_;
  std::unique_ptr<rocksdb::SstFileReader> reader_;  // none: the file holds no entries
  std::unique_ptr<rocksdb::Iterator> entries_;
  std::string prefix_;
};

Result<StateFile> write_run(const std::string& root, const std::string& name, const StateRun& run) {
  if (auto good = durable_file::check_file_name(name); !good) return std::unexpected(good.error());
  StateFileWriter writer(root, name);
  if (auto opened = writer.open(); !opened) return std::unexpected(opened.error());
  std::string key;
  std::string value;
  for (size_t index = 0; index < run.size(); ++index) {
    const StateRun::Entry entry = run[index];
    key = prefix_of(entry.partition);
    key += entry.key;
    value.assign(1, entry.removed ? kRemovedTag : kValueTag);
    value += entry.value;
    if (auto added = writer.add(key, value); !added) return std::unexpected(added.error());
  }
  return writer.finish();
}

Result<StateRun> read_run(const std::string& root, const StateFile& file,
                          const std::vector<StatePartition>& partitions) {
  if (auto good = durable_file::check_file_name(file.name); !good) return std::unexpected(good.error());
  StateFileReader reader(root + "/" + file.name);
  if (auto opened = reader.open(file); !opened) return std::unexpected(opened.error());
  StateRun run;
  for (const StatePartition partition : partitions) {
    for (reader.seek(partition); reader.valid(); reader.next()) {
      const Result<bool> removed = reader.removed();
      if (!removed) return std::unexpected(removed.error());
      std::string_view key = reader.key().ToStringView();
      key.remove_prefix(kPrefixSize);
      run.add(partition, key, reader.tagged_value().ToStringView().substr(1), *removed);
    }
    if (auto status = reader.status(); !status) return std::unexpected(status.error());
  }
  return run;
}

// One partition of all readers (the oldest first), merged into the writer.
Status merge_partition(std::vector<std::unique_ptr<StateFileReader>>& readers, StatePartition partition,
                       StateFileWriter& writer) {
  const auto after = [&](size_t a, size_t b) {  // of two equal keys the younger file's comes first
    const int order = readers[a]->key().compare(readers[b]->key());
    return order != 0 ? order > 0 : a < b;
  };
  std::priority_queue<size_t, std::vector<size_t>, decltype(after)> heads(after);
  for (size_t index = 0; index < readers.size(); ++index) {
    readers[index]->seek(partition);
    if (readers[index]->valid()) heads.push(index);
    if (auto status = readers[index]->status(); !status) return status;
  }
  std::string last_key;
  bool any = false;
  while (!heads.empty()) {
    const size_t index = heads.top();
    heads.pop();
    StateFileReader& reader = *readers[index];
    if (!any || reader.key() != rocksdb::Slice(last_key)) {
      any = true;
      last_key = reader.key().ToString();
      const Result<bool> removed = reader.removed();
      if (!removed) return std::unexpected(removed.error());
      if (!*removed) {
        if (auto added = writer.add(reader.key(), reader.tagged_value()); !added) return added;
      }
    }
    reader.next();
    if (reader.valid()) heads.push(index);
    if (auto status = reader.status(); !status) return status;
  }
  return {};
}

Result<StateFile> merge_files(const std::string& root, const std::vector<StateFile>& files,
                              std::vector<StatePartition> partitions, const std::string& name) {
  if (auto good = durable_file::check_file_name(name); !good) return std::unexpected(good.error());
  std::vector<std::unique_ptr<StateFileReader>> readers;
  for (const StateFile& file : files) {
    if (auto good = durable_file::check_file_name(file.name); !good) return std::unexpected(good.error());
    readers.push_back(std::make_unique<StateFileReader>(root + "/" + file.name));
    if (auto opened = readers.back()->open(file); !opened) return std::unexpected(opened.error());
  }
  StateFileWriter writer(root, name);
  if (auto opened = writer.open(); !opened) return std::unexpected(opened.error());
  std::sort(partitions.begin(), partitions.end());
  for (const StatePartition partition : partitions) {
    if (auto merged = merge_partition(readers, partition, writer); !merged) return std::unexpected(merged.error());
  }
  return writer.finish();
}

Result<bool> create_file(const std::string& root, const std::string& name, const std::string& bytes) {
  if (auto good = durable_file::check_file_name(name); !good) return std::unexpected(good.error());
  const Result<std::string> temporary = durable_file::temporary_path(root);
  if (!temporary) return std::unexpected(temporary.error());
  if (auto written = durable_file::write_file(*temporary, bytes); !written) {
    ::unlink(temporary->c_str());
    return std::unexpected(written.error());
  }
  return durable_file::publish_new(root, *temporary, name);
}

}  // namespace

Result<std::unique_ptr<FileCheckpointStore>> FileCheckpointStore::open(TaskLoop& loop, const std::string& uri,
                                                                       IfMissing if_missing) {
  constexpr std::string_view kScheme = "file://";
  if (!uri.starts_with(kScheme) || uri.size() < kScheme.size() + 2 || uri[kScheme.size()] != '/') {
    return fail(ErrorCode::kInvalid, "'" + uri.substr(0, 100) + "' is no checkpoint store; expected file:///DIR");
  }
  std::string root = uri.substr(kScheme.size());
  while (root.size() > 1 && root.back() == '/') root.pop_back();
  if (if_missing == IfMissing::kMake) {
    if (auto made = durable_file::make_root(root); !made) return std::unexpected(made.error());
  }
  if (if_missing == IfMissing::kRefuse && !durable_file::is_there(root)) {
    return fail(ErrorCode::kUnavailable, "the checkpoint store that was used before is not there; mount it at " + root +
                                             ", or, for an empty one in its place, make the folder " + root + "/.tmp");
  }
  durable_file::sweep_temporary(root);
  return std::unique_ptr<FileCheckpointStore>(new FileCheckpointStore(loop, std::move(root)));
}

FileCheckpointStore::FileCheckpointStore(TaskLoop& loop, std::string root)
    : loop_(loop), root_(std::move(root)), thread_(std::make_unique<WorkerThread>(loop, "checkpoints")) {}

FileCheckpointStore::~FileCheckpointStore() {
  if (forget_pages_ != 0) loop_.cancel(forget_pages_);
}

template <typename T, typename Work>
void FileCheckpointStore::run(Work work, Done<T> done) {
  run_on(*thread_, std::move(work), std::move(done));
}

template <typename T, typename Work>
void FileCheckpointStore::run_on(WorkerThread& thread, Work work, Done<T> done) {
  thread.run([this, &thread, work = std::move(work), done = std::move(done)]() mutable {
    const auto attempt = [&]() -> Result<T> {
      if (!durable_file::is_there(root_)) {
        return fail(ErrorCode::kUnavailable, "the checkpoint store is not mounted at " + root_ + "; mount it there");
      }
      try {
        return work();
      } catch (const std::exception& thrown) {  // as a rule, of too little memory
        return fail(ErrorCode::kUnavailable,
                    "the checkpoint store at " + root_ + " cannot do this now: " + thrown.what());
      }
    };
    Result<T> result = attempt();
    // It may have gone and come back in between.
    if (!result && result.error().code == ErrorCode::kNotFound) result = attempt();
    thread.complete([result = std::move(result), done = std::move(done)]() mutable { done(std::move(result)); });
  });
}

void FileCheckpointStore::write_state(std::string name, std::vector<StateRun> runs, Done<StateFile> done) {
  run<StateFile>(
      [this, name = std::move(name), runs = std::move(runs), all = StateRun()]() mutable {
        if (!runs.empty()) all = StateRun::sorted(std::exchange(runs, {}));  // It may be called once more.
        return write_run(root_, name, all);
      },
      std::move(done));
}

void FileCheckpointStore::read_state(StateFile file, std::vector<StatePartition> partitions, Done<StateRun> done) {
  run<StateRun>(
      [this, file = std::move(file), partitions = std::move(partitions)] { return read_run(root_, file, partitions); },
      std::move(done));
}

void FileCheckpointStore::merge_state(std::vector<StateFile> files, std::vector<StatePartition> partitions,
                                      std::string name, Done<StateFile> done) {
  run<StateFile>([this, files = std::move(files), partitions = std::move(partitions),
                  name = std::move(name)] { return merge_files(root_, files, partitions, name); },
                 std::move(done));
}

void FileCheckpointStore::read_page(StateSlice slice, Show show, Done<StatePage> done) {
  if (pages_thread_ == nullptr) {
    pages_ = std::make_unique<StatePages>(root_);
    pages_thread_ = std::make_unique<WorkerThread>(loop_, "pages");
    pages_thread_->run([] { ::setpriority(PRIO_PROCESS, 0, kPagesNice); });  // of this thread alone
  }
  // Also while others read on: whoever does opens its files again.
  if (forget_pages_ == 0)
    forget_pages_ = loop_.schedule(kPagesKept, [this] {
      forget_pages_ = 0;
      pages_thread_->run([this] { pages_->forget(); });
    });
  run_on<StatePage>(
      *pages_thread_,
      [this, slice = std::move(slice), show = std::move(show)]() mutable -> Result<StatePage> {
        Result<StatePage> page = pages_->read(slice);
        if (!page) return page;
        if (Status shown = show(page->run); !shown) return std::unexpected(shown.error());
        return page;
      },
      std::move(done));
}

void FileCheckpointStore::create(std::string name, std::string bytes, Done<bool> done) {
  run<bool>([this, name = std::move(name), bytes = std::move(bytes)] { return create_file(root_, name, bytes); },
            std::move(done));
}

void FileCheckpointStore::read(std::string name, Done<std::string> done) {
  run<std::string>(
      [this, name = std::move(name)]() -> Result<std::string> {
        if (auto good = durable_file::check_file_name(name); !good) return std::unexpected(good.error());
        return durable_file::read_file(root_ + "/" + name);
      },
      std::move(done));
}

void FileCheckpointStore::list(std::string folder, Done<std::vector<std::string>> done) {
  run<std::vector<std::string>>(
      [this, folder = std::move(folder)]() -> Result<std::vector<std::string>> {
        if (!folder.empty()) {
          if (auto good = durable_file::check_file_name(folder); !good) return std::unexpected(good.error());
        }
        return durable_file::list_files(root_, folder);
      },
      std::move(done));
}

void FileCheckpointStore::remove(std::vector<std::string> names, Done<bool> done) {
  run<bool>(
      [this, names = std::move(names)]() -> Result<bool> {
        for (const std::string& name : names) {
          if (auto good = durable_file::check_file_name(name); !good) return std::unexpected(good.error());
          if (auto removed = durable_file::remove_file(root_, name); !removed) return std::unexpected(removed.error());
        }
        return true;
      },
      std::move(done));
}

}  // namespace millrace
