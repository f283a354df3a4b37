// DirectoryReceiver: the lines of all files of a directory, and of those that come into it, each file once, in the
// order of (time of the last change, name).
//
// A file is taken when two looks in a row find it unchanged; so the way to bring one whole is to write it elsewhere on
// the same file system and to rename it into the directory. What is added to a file after it was taken is not read, and
// that is said. Left out are names that begin with a dot, and whatever is no regular file (links to such are followed).
//
// With `take_away` its lines are handed on in groups that have a key and are a function of the file alone, and it is
// moved away once the target has taken the last one: who is killed in between hands the same groups on again.
//
// A file is known by its inode and time of birth, so that one that is renamed within the directory is not taken twice.
#pragma once

#include <sys/stat.h>

#include <compare>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "adapters/stop_signal.h"
#include "common/base/error.h"
#include "common/seams/receiver.h"

namespace millrace {

// Made, started and destroyed by one thread; has one of its own.
class DirectoryReceiver final : public Receiver {
 public:
  struct Options {
    std::string path;
    size_t max_record_bytes = 0;
    bool until_latest = false;  // it ends with the files that are there at the first look, without waiting for a second
    bool take_away = false;     // a file that was taken is moved into .taken, a folder of the directory
  };

  // kNotFound, kIo: the directory cannot be read.
  static Result<std::unique_ptr<DirectoryReceiver>> open(Options options);
  ~DirectoryReceiver() override;
  DirectoryReceiver(const DirectoryReceiver&) = delete;
  DirectoryReceiver& operator=(const DirectoryReceiver&) = delete;

  void start(ReceiverTarget& target) override;

 private:
  // Of a file or directory, while it is there.
  struct Id {
    uint64_t device = 0;
    uint64_t inode = 0;
    int64_t born_ns = 0;  // 0 where the file system does not tell
    auto operator<=>(const Id&) const = default;
  };
  struct Found {
    Id id;
    int64_t changed_ns = 0;
    std::string name;
    int64_t bytes = 0;
    int failure = 0;  // an errno: nothing else is known of it
  };
  struct File {
    int64_t changed_ns = 0;  // as of the newest look, or of when it was taken
    int64_t bytes = 0;
    bool taken = false;
    int64_t read_bytes = 0;  // up to the end of a line
    int64_t lines = 0;
  };

  DirectoryReceiver(Options options, Id id);

  void run();
  // The files in the order in which they are taken.
  [[nodiscard]] Result<std::vector<Found>> list() const;
  // Takes what can be taken; the problems that it meets.
  [[nodiscard]] std::vector<Error> look(const std::vector<Found>& found);
  [[nodiscard]] Status take(const Found& found, File& file);
  // As many bytes as are left or the buffer holds; or an errno.
  [[nodiscard]] std::expected<size_t, int> read(int descriptor, int64_t offset);
  [[nodiscard]] Status take_away(const Found& found) const;
  [[nodiscard]] bool append(const Found& found, File& file, std::span<const std::string_view> lines);

  [[nodiscard]] static Id id_of(const struct statx& facts);
  static Result<Id> identify(const std::string& path);  // of a directory

  // Constant after construction.
  const Options options_;
  const Id id_;
  StopSignal stop_;
  ReceiverTarget* target_ = nullptr;  // from start() on; outlives this

  // The thread's.
  std::vector<char> buffer_;
  std::map<Id, File> files_;  // those that the newest look has found
  bool refused_ = false;      // the target takes no more
  int64_t bytes_ = 0;         // that were read
  int64_t all_bytes_ = 0;     // of the files that the newest look has found

  std::thread thread_;
};

}  // namespace millrace
