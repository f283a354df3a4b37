#include "adapters/rocksdb_metadata_store.h"

#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <utility>

#include "adapters/worker_thread.h"
#include "common/base/check.h"

namespace millrace {
namespace {

// RocksDB's own log file aborts the process when it is written after a failed write, that is, on a full disk: what
// it has to say goes to ours instead.
class ForwardingLogger : public rocksdb::Logger {
 public:
  ForwardingLogger() : rocksdb::Logger(rocksdb::WARN_LEVEL) {}
  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    char text[512];
    std::vsnprintf(text, sizeof(text), format, arguments);
    LOG(WARNING) << "RocksDB: " << text;
  }
};

// Small memory: the batch log is written once and read at start-up, so caches would hold what nobody asks for.
rocksdb::Options small_options() {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(1 << 20);
  table.checksum = rocksdb::kXXH3;
  rocksdb::Options options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.create_if_missing = true;
  options.compression = rocksdb::kNoCompression;
  options.write_buffer_size = 2 << 20;
  options.max_write_buffer_number = 2;
  options.arena_block_size = 64 << 10;
  options.max_total_wal_size = 4 << 20;
  options.max_background_jobs = 1;
  options.max_open_files = 64;
  options.max_file_opening_threads = 1;
  options.table_cache_numshardbits = 2;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.info_log = std::make_shared<ForwardingLogger>();
  return options;
}

Error describe(const rocksdb::Status& status, const std::string& directory, bool running = true) {
  if (status.IsNoSpace()) {
    return {ErrorCode::kIo, "the disk of " + directory + " is full; free some space" +
                                (running ? ", the master then goes on by itself" : " and start the master again")};
  }
  if (status.IsCorruption()) {
    return {ErrorCode::kCorrupt, "the metadata in " + directory + " is damaged: " + status.ToString() +
                                     "; put a copy in its place or start with another --data_dir"};
  }
  return {ErrorCode::kIo, "the metadata in " + directory + " cannot be read or written: " + status.ToString() +
                              "; check the disk and the permissions"};
}

// The jobs' records hold the passwords of sinks and sources.
void keep_to_ourselves(const std::string& directory) {
  using std::filesystem::perms;
  std::error_code failure;
  const perms others = perms::group_all | perms::others_all;
  if ((std::filesystem::status(directory, failure).permissions() & others) == perms::none) return;
  std::filesystem::permissions(directory, perms::owner_all, failure);
  if (!failure) return;
  LOG(WARNING) << directory << " holds passwords and others may read it: " << failure.message()
               << "; take the permissions from them";
}

std::string read_owner(int descriptor) {
  char text[32] = {};
  const ssize_t size = pread(descriptor, text, sizeof(text) - 1, 0);
  std::string pid(text, size > 0 ? static_cast<size_t>(size) : 0);
  while (!pid.empty() && pid.back() == '\n') pid.pop_back();
  return pid.empty() ? "of another process" : "pid " + pid;
}

// The locked descriptor of DATA_DIR/LOCK.
Result<int> lock_directory(const std::string& data_dir) {
  const std::string path = data_dir + "/LOCK";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    return fail(ErrorCode::kIo,
                "cannot open " + path + ": " + std::strerror(errno) + "; give a --data_dir that this user may write");
  }
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    const std::string owner = read_owner(descriptor);
    ::close(descriptor);
    return fail(ErrorCode::kExists, "data directory " + data_dir + " is in use by millrace-master " + owner +
                                        "; stop it or give another --data_dir");
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  // Informative only: with a full disk the lock still holds.
  if (ftruncate(descriptor, 0) != 0 || pwrite(descriptor, pid.data(), pid.size(), 0) < 0) {
    LOG(WARNING) << "cannot write " << path << ": " << std::strerror(errno);
  }
  return descriptor;
}

}  // namespace

// The database and its repair. Thread-safe: the loop reads while the commit thread writes; only opening anew
// keeps the readers out.
class RocksdbMetadataStore::Database {
 public:
  Database(std::string directory, int lock) : directory_(std::move(directory)), lock_(lock) {}
  ~Database() {
    database_.reset();
    ::close(lock_);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Status open() {
    const std::lock_guard lock(mutex_);
    if (open_locked()) return {};
    return std::unexpected(describe(broken_, directory_, false));
  }

  // On the commit thread only. The group becomes durable as a whole or not at all.
  Status write(const std::vector<const WriteSet*>& group) {
    rocksdb::WriteBatch batch;
    for (const WriteSet* set : group) {
      for (const WriteSet::Write& write : set->writes()) {
        if (write.value) {
          batch.Put(write.key, *write.value);
        } else {
          batch.Delete(write.key);
        }
      }
    }
    if (auto repaired = repair(); !repaired) return repaired;
    rocksdb::WriteOptions options;
    options.sync = true;
    const rocksdb::Status written = database_->Write(options, &batch);
    if (written.ok()) return {};
    broken_ = written;
    return std::unexpected(describe(written, directory_));
  }

  // Calls `read` with the database, or says why there is none.
  template <typename T, typename Read>
  Result<T> with(Read read) {
    const std::lock_guard lock(mutex_);
    if (database_ == nullptr) return std::unexpected(describe(broken_, directory_));
    return read(*database_);
  }

  [[nodiscard]] Error explain(const rocksdb::Status& status) const { return describe(status, directory_); }

 private:
  Status open_locked() {
    rocksdb::DB* opened = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(small_options(), directory_, &opened);
    if (!status.ok()) {
      broken_ = status;
      return std::unexpected(describe(status, directory_));
    }
    database_.reset(opened);
    broken_ = rocksdb::Status::OK();
    return {};
  }

  // Leaves the last error behind, if there was one. Resume() keeps the readers going and drops the failed file;
  // where RocksDB holds the error for final, the database is opened anew, but never while the disk is full:
  // it would not open, and the readers would have nothing.
  Status repair() {
    if (broken_.ok()) return {};
    if (database_ != nullptr) {
      const rocksdb::Status resumed = database_->Resume();
      if (resumed.ok()) {
        broken_ = resumed;
        return {};
      }
      if (resumed.IsNoSpace()) return std::unexpected(describe(resumed, directory_));
    }
    const std::lock_guard lock(mutex_);
    database_.reset();
    return open_locked();
  }

  // Constant after construction.
  const std::string directory_;
  const int lock_;

  std::mutex mutex_;  // held by readers, and while database_ changes
  std::unique_ptr<rocksdb::DB> database_;
  rocksdb::Status broken_;  // the error to leave behind; changed on the commit thread
};

// The commit thread and the sets that wait for it.
class RocksdbMetadataStore::Committer {
 public:
  Committer(TaskLoop& loop, RocksdbMetadataStore& store) : store_(store), thread_(loop, "metadata") {}

  void add(uint64_t sequence, WriteSet set, std::move_only_function<void(Status)> done) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back({sequence, std::move(set), std::move(done)});
    }
    thread_.run([this] { commit_waiting(); });
  }

 private:
  struct Commit {
    uint64_t sequence;
    WriteSet set;
    std::move_only_function<void(Status)> done;
  };

  // On the commit thread. After a failure nothing is taken until the loop has answered it.
  void commit_waiting() {
    std::vector<Commit> group;
    {
      const std::lock_guard lock(mutex_);
      if (failed_ || waiting_.empty()) return;
      group.swap(waiting_);
    }
    std::vector<const WriteSet*> sets;
    for (const Commit& commit : group) sets.push_back(&commit.set);
    const Status status = store_.database_->write(sets);
    if (!status) {
      const std::lock_guard lock(mutex_);
      failed_ = true;
    }
    thread_.complete([this, status, done = std::move(group)]() mutable { answer(std::move(done), status); });
  }

  // On the loop.
  void answer(std::vector<Commit> group, const Status& status) {
    if (!status) {
      const std::lock_guard lock(mutex_);
      for (Commit& later : waiting_) group.push_back(std::move(later));
      waiting_.clear();
      failed_ = false;
    }
    for (Commit& commit : group) {
      std::vector<std::string> keys;
      for (const WriteSet::Write& write : commit.set.writes()) keys.push_back(write.key);
      store_.on_committed(commit.sequence, keys);
    }
    for (Commit& commit : group) commit.done(status);
  }

  RocksdbMetadataStore& store_;  // owns this
  std::mutex mutex_;
  std::vector<Commit> waiting_;  // guarded by mutex_
  bool failed_ = false;          // guarded by mutex_
  WorkerThread thread_;          // last: its work uses the fields above
};

Result<std::unique_ptr<RocksdbMetadataStore>> RocksdbMetadataStore::open(TaskLoop& loop, const std::string& data_dir) {
  std::error_code made;
  std::filesystem::create_directories(data_dir + "/metadata", made);
  if (made) {
    return fail(ErrorCode::kIo,
                "cannot make the data directory " + data_dir + ": " + made.message() + "; give another --data_dir");
  }
  keep_to_ourselves(data_dir + "/metadata");
  Result<int> lock = lock_directory(data_dir);
  if (!lock) return std::unexpected(lock.error());
  auto database = std::make_unique<Database>(data_dir + "/metadata", *lock);
  if (auto opened = database->open(); !opened) return std::unexpected(opened.error());
  return std::unique_ptr<RocksdbMetadataStore>(new RocksdbMetadataStore(loop, std::move(database)));
}

RocksdbMetadataStore::RocksdbMetadataStore(TaskLoop& loop, std::unique_ptr<Database> database)
    : database_(std::move(database)), committer_(std::make_unique<Committer>(loop, *this)) {}

RocksdbMetadataStore::~RocksdbMetadataStore() = default;

Result<std::optional<std::string>> RocksdbMetadataStore::get(const std::string& key) {
  using Value = std::optional<std::string>;
  if (const auto pending = overlay_.find(key); pending != overlay_.end()) return pending->second.value;
  return database_->with<Value>([&](rocksdb::DB& database) -> Result<Value> {
    std::string value;
    const rocksdb::Status status = database.Get(rocksdb::ReadOptions(), key, &value);
    if (status.IsNotFound()) return Value();
    if (!status.ok()) return std::unexpected(database_->explain(status));
    return Value(std::move(value));
  });
}

Result<std::vector<std::pair<std::string, std::string>>> RocksdbMetadataStore::scan(const std::string& prefix,
                                                                                    size_t limit,
                                                                                    const std::string& from) {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  const std::string start = std::max(prefix, from);
  return database_->with<Pairs>([&](rocksdb::DB& database) -> Result<Pairs> {
    Pairs pairs;
    const std::unique_ptr<rocksdb::Iterator> stored(database.NewIterator(rocksdb::ReadOptions()));
    stored->Seek(start);
    auto pending = overlay_.lower_bound(start);
    while (pairs.size() < limit) {
      const bool more_stored = stored->Valid() && stored->key().starts_with(prefix);
      const bool more_pending = pending != overlay_.end() && pending->first.starts_with(prefix);
      if (!more_stored && !more_pending) break;
      const int order = !more_pending ? -1 : !more_stored ? 1 : stored->key().compare(pending->first);
      if (order < 0) {
        pairs.emplace_back(stored->key().ToString(), stored->value().ToString());
      } else if (pending->second.value) {
        pairs.emplace_back(pending->first, *pending->second.value);
      }
      if (order <= 0) stored->Next();
      if (order >= 0) ++pending;
    }
    if (!stored->status().ok()) return std::unexpected(database_->explain(stored->status()));
    return pairs;
  });
}

void RocksdbMetadataStore::commit(WriteSet set, std::move_only_function<void(Status)> done) {
  const uint64_t sequence = ++last_sequence_;
  for (const WriteSet::Write& write : set.writes()) overlay_[write.key] = {sequence, write.value};
  committer_->add(sequence, std::move(set), std::move(done));
}

void RocksdbMetadataStore::on_committed(uint64_t sequence, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    const auto pending = overlay_.find(key);
    if (pending != overlay_.end() && pending->second.sequence == sequence) overlay_.erase(pending);
  }
}

}  // namespace millrace
