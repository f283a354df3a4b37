#include "adapters/directory_receiver.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <utility>

#include "adapters/file_descriptor.h"
#include "adapters/line_splitter.h"
#include "common/base/byte_order.h"
#include "common/model/hash.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

constexpr size_t kReadBytes = 256 << 10;
// Of a file that is to be taken away: in groups, fewer than the producers that one partition of a log remembers.
constexpr int64_t kMostTakenBytes = int64_t{2} << 30;
constexpr char kTaken[] = ".taken";
constexpr auto kLookEvery = milliseconds(200);
constexpr int kLookShare = 10;  // of the time no more than one part of so many goes into looking

int64_t nanoseconds(const statx_timestamp& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

std::unexpected<Error> not_read(const std::string& what, int error_number) {
  return fail(error_number == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
              what + " cannot be read: " + std::strerror(error_number));
}

Error not_taken(const std::string& path, int error_number) {
  Error error = not_read("file '" + path + "'", error_number).error();
  error.message += "; mend that, or take it away";
  return error;
}

// 0 or an errno. `name` may be empty: `descriptor` itself.
int inspect(int descriptor, const char* name, struct statx& facts) {
  return ::statx(descriptor, name, AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &facts) == 0 ? 0 : errno;
}

// 0 or an errno. What has that name stays.
int rename_to_new(const std::string& from, const std::string& to) {
  return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0 ? 0 : errno;
}

// What the problems are, in one sentence.
std::string sentence(const std::vector<Error>& problems) {
  if (problems.empty()) return "";
  const size_t others = problems.size() - 1;
  return problems.front().message + (others == 0 ? "" : " (and " + std::to_string(others) + " more like that)");
}

}  // namespace

DirectoryReceiver::DirectoryReceiver(Options options, Id id)
    : options_(std::move(options)), id_(id), buffer_(kReadBytes) {}

DirectoryReceiver::~DirectoryReceiver() {
  stop_.stop();
  if (thread_.joinable()) thread_.join();
}

Result<std::unique_ptr<DirectoryReceiver>> DirectoryReceiver::open(Options options) {
  const auto id = identify(options.path);
  if (!id) {
    const bool missing = id.error().code == ErrorCode::kNotFound;
    return fail(id.error().code, id.error().message + "; correct --source, or " +
                                     (missing ? "make the directory" : "let this user read it"));
  }
  return std::unique_ptr<DirectoryReceiver>(new DirectoryReceiver(std::move(options), *id));
}

void DirectoryReceiver::start(ReceiverTarget& target) {
  target_ = &target;
  thread_ = std::thread([this] { run(); });
}

void DirectoryReceiver::run() {
  ::pthread_setname_np(::pthread_self(), "receiver");
  using Clock = std::chrono::steady_clock;
  milliseconds pause = kLookEvery;
  do {
    const auto begin = Clock::now();
    const auto found = list();
    // A large directory is looked into less often.
    pause = std::max(kLookEvery, std::chrono::ceil<milliseconds>((Clock::now() - begin) * (kLookShare - 1)));
    const std::vector<Error> problems = found ? look(*found) : std::vector<Error>{found.error()};
    if (refused_ || stop_.stopped()) return;
    if (options_.until_latest) {
      return target_->end(problems.empty() ? Status() : fail(problems.front().code, sentence(problems)));
    }
    target_->tell_problem(sentence(problems));
  } while (stop_.pause(pause));
}

Result<DirectoryReceiver::Id> DirectoryReceiver::identify(const std::string& path) {
  const std::string what = "directory '" + path + "'";
  const FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return not_read(what, errno);
  struct statx facts{};
  if (const int failure = inspect(directory.get(), "", facts); failure != 0) return not_read(what, failure);
  return id_of(facts);
}

DirectoryReceiver::Id DirectoryReceiver::id_of(const struct statx& facts) {
  const bool born = (facts.stx_mask & STATX_BTIME) != 0;
  return {(uint64_t{facts.stx_dev_major} << 32) | facts.stx_dev_minor, facts.stx_ino,
          born ? nanoseconds(facts.stx_btime) : 0};
}

Result<std::vector<DirectoryReceiver::Found>> DirectoryReceiver::list() const {
  const std::string what = "directory '" + options_.path + "'";
  // An empty mount point must not look as if all files had gone: when they are back they would be taken again.
  const auto id = identify(options_.path);
  if (!id) return std::unexpected(id.error());
  if (*id != id_) {
    return fail(ErrorCode::kIo, what +
                                    " is another one than at the start (made anew, or mounted over); nothing of it " +
                                    "is taken until the first one is back, or this is started again");
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(options_.path.c_str()), &::closedir);
  if (directory == nullptr) return not_read(what, errno);
  std::vector<Found> found;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr && errno != 0) return not_read(what, errno);
    if (entry == nullptr) break;
    if (entry->d_name[0] == '.') continue;
    struct statx facts{};
    const int failure = inspect(::dirfd(directory.get()), entry->d_name, facts);
    if (failure == ENOENT) continue;  // it has gone, or is a link to nothing
    if (failure != 0) {
      found.push_back({.name = entry->d_name, .failure = failure});
      continue;
    }
    if (!S_ISREG(facts.stx_mode)) continue;
    found.push_back({.id = id_of(facts),
                     .changed_ns = nanoseconds(facts.stx_mtime),
                     .name = entry->d_name,
                     .bytes = static_cast<int64_t>(facts.stx_size)});
  }
  std::ranges::sort(found, {}, [](const Found& each) { return std::tie(each.changed_ns, each.name); });
  return found;
}

std::vector<Error> DirectoryReceiver::look(const std::vector<Found>& found) {
  std::vector<Error> problems;
  std::map<Id, File> there;
  all_bytes_ = 0;
  for (const Found& each : found) all_bytes_ += each.bytes;
  for (const Found& each : found) {
    if (each.failure != 0) {
      problems.push_back(not_taken(options_.path + "/" + each.name, each.failure));
      continue;
    }
    const auto [place, first_name] = there.try_emplace(each.id);
    if (!first_name) continue;  // a second link to it
    File& file = place->second;
    const auto known = files_.find(each.id);
    if (known != files_.end()) file = known->second;
    const bool unchanged = known != files_.end() && file.changed_ns == each.changed_ns && file.bytes == each.bytes;
    if (file.taken) {
      if (unchanged) continue;
      problems.push_back({ErrorCode::kIo, "file '" + options_.path + "/" + each.name +
                                              "' was changed after it had been taken, and that is not counted; write "
                                              "files elsewhere and rename them into the directory"});
      continue;
    }
    file.changed_ns = each.changed_ns;
    file.bytes = each.bytes;
    if (!unchanged && !options_.until_latest) continue;
    if (Status taken = take(each, file); !taken) problems.push_back(std::move(taken.error()));
    if (refused_ || stop_.stopped()) break;
  }
  files_ = std::move(there);
  return problems;
}

// Where it fails half way it goes on from there another time.
Status DirectoryReceiver::take(const Found& found, File& file) {
  const std::string path = options_.path + "/" + found.name;
  if (options_.take_away && found.bytes > kMostTakenBytes) {
    return fail(ErrorCode::kInvalid,
                "file '" + path + "' is larger than " + std::to_string(kMostTakenBytes >> 30) + " GiB; split it");
  }
  const auto failed = [&path](int error_number) {
    if (error_number == ENOENT) return Status();  // gone since it was listed
    return Status(std::unexpected(not_taken(path, error_number)));
  };
  const FileDescriptor opened(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!opened.valid()) return failed(errno);
  struct statx facts{};
  if (const int failure = inspect(opened.get(), "", facts); failure != 0) return failed(failure);
  // Another file by that name came since it was listed: the next look finds it, and would take it twice.
  if (id_of(facts) != found.id && !options_.until_latest) return {};
  // Groups with keys have to begin where they began before.
  if (options_.take_away) file.read_bytes = file.lines = 0;
  LineSplitter splitter(options_.max_record_bytes);
  int64_t offset = file.read_bytes;
  while (!stop_.stopped()) {
    const auto count = read(opened.get(), offset);
    if (!count) return failed(count.error());
    offset += static_cast<int64_t>(*count);
    bytes_ += static_cast<int64_t>(*count);
    const bool over = *count == 0;
    if (!append(found, file, over ? splitter.finish() : splitter.add({buffer_.data(), *count}))) return {};
    file.read_bytes = offset - splitter.pending_bytes();
    if (options_.until_latest && all_bytes_ > 0) {
      target_->tell_share(std::min(1.0, static_cast<double>(bytes_) / static_cast<double>(all_bytes_)));
    }
    if (!over) continue;
    if (const int failure = inspect(opened.get(), "", facts); failure != 0) return failed(failure);
    const bool changed = nanoseconds(facts.stx_mtime) != found.changed_ns;
    file.taken = true;
    file.bytes = offset;  // of what is added from now on its size will tell
    if (options_.take_away) return changed ? Status() : take_away(found);
    file.changed_ns = nanoseconds(facts.stx_mtime);
    return {};
  }
  return {};
}

// Whole buffers, so that the same file gives the same groups.
std::expected<size_t, int> DirectoryReceiver::read(int descriptor, int64_t offset) {
  size_t filled = 0;
  while (filled < buffer_.size()) {
    const ssize_t count =
        ::pread(descriptor, buffer_.data() + filled, buffer_.size() - filled, offset + static_cast<int64_t>(filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::unexpected(errno);
    if (count == 0) break;
    filled += static_cast<size_t>(count);
  }
  return filled;
}

Status DirectoryReceiver::take_away(const Found& found) const {
  const std::string from = options_.path + "/" + found.name;
  const std::string folder = options_.path + "/" + kTaken;
  std::string to = folder + "/" + found.name;
  int failure = ::mkdir(folder.c_str(), 0755) == 0 || errno == EEXIST ? 0 : errno;
  if (failure == 0) failure = rename_to_new(from, to);
  if (failure == EEXIST) failure = rename_to_new(from, to + "." + std::to_string(found.id.inode));
  if (failure == 0 || failure == ENOENT) return {};
  return fail(ErrorCode::kIo, "file '" + from + "' was taken and cannot be moved into " + folder + ": " +
                                  std::strerror(failure) + "; let this user do that, or take it away");
}

bool DirectoryReceiver::append(const Found& found, File& file, std::span<const std::string_view> lines) {
  if (lines.empty()) return true;
  uint64_t key = 0;
  if (options_.take_away) {  // by what every host sees of it, wherever it is mounted
    std::string name(4 * sizeof(int64_t), '\0');
    char* to = name.data();
    for (const int64_t number : {static_cast<int64_t>(found.id.inode), found.changed_ns, found.bytes, file.lines}) {
      store_little(std::exchange(to, to + sizeof number), number);
    }
    key = hash_of(name) | 1;
  }
  refused_ = !target_->append({.lines = lines, .origin = found.name, .first_line = file.lines + 1, .key = key});
  file.lines += static_cast<int64_t>(lines.size());
  return !refused_;
}

}  // namespace millrace
